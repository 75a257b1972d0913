"""What a data folder's catalogue has that its dataset does not: matches and uploads that are in no file.

Who looks at the dataset alone does not see what was selected away: matches in which everybody vanished or that were
annulled, uploads that were refused, episodes that could not be judged. Read only; a server may be running.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from msgspec import Struct

from rollgym.server.storage.record import catalogue_copy, catalogue_of


class Selection(Struct, frozen=True):
    """Counts over everything in the folder."""

    matches: int
    """That were begun. Annulled ones are not among them."""
    annulled: int
    """A player was lost before play began."""
    running: int
    """Matches that were never ended."""
    without_upload: int
    """Matches that are over and of which nobody uploaded anything."""
    single_complete: int
    """Episodes with verdict ``single`` that are complete."""
    single_prefix: int
    """Episodes with verdict ``single`` that are not."""
    unjudged: dict[str, int]
    """Episodes that were received and have no verdict, by reason; ``waiting``: not judged yet."""
    refused: dict[str, int]
    """Uploads that were refused and not taken since, by the code of the last refusal."""
    conflicts: int
    """Uploads of which a player sent another version later. The first one counts."""

    def lines(self) -> list[str]:
        """For people: how many matches there were, and what is lacking, if anything is."""
        lacking = [
            (self.annulled, "annulled before play"),
            (self.running, "not ended"),
            (self.without_upload, "without any upload"),
        ]
        there = f"the catalogue has {_number(self.matches, 'match', 'matches')}"
        said = [", ".join([there, *(f"{count} {what}" for count, what in lacking if count)])]
        if self.single_complete or self.single_prefix:
            prefixes = _number(self.single_prefix, "prefix", "prefixes")
            said.append(f"single: {self.single_complete} complete, {prefixes}")
        if self.unjudged:
            said.append(f"without a verdict: {_listed(self.unjudged)}")
        if self.refused:
            said.append(f"uploads refused and not taken since: {_listed(self.refused)}")
        if self.conflicts:
            said.append(f"uploads sent in two versions: {self.conflicts}")
        return said


def selection(folder: Path) -> Selection | None:
    """The counts of a data folder; None for any other folder or file.

    Raises :class:`~rollgym.server.errors.ServerError` for a catalogue that cannot be read.
    """
    place = catalogue_of(folder)
    if not place.is_file():
        return None
    with catalogue_copy(place) as copy:
        matches = copy.matches()
        uploads = {(row.match, row.episode, row.player) for row in copy.uploads()}
        episodes = copy.episodes()
        reasons = {(row.match, row.episode): row.kind for row in copy.unjudged()}
        refusals = copy.refusals()
        conflicts = copy.conflicts()
    played = [row for row in matches if not row.annulled]
    received = {row[0] for row in uploads}
    unjudged = {row[:2] for row in uploads} - {(row.match, row.episode) for row in episodes}
    last = {
        (row.match, row.episode, row.player): row.code
        for row in sorted(refusals, key=lambda row: row.last)
        if (row.match, row.episode, row.player) not in uploads
    }
    singles = Counter(row.status == "complete" for row in episodes if row.verdict == "single")
    return Selection(
        matches=len(played),
        annulled=len(matches) - len(played),
        running=sum(row.ended is None for row in played),
        without_upload=sum(row.ended is not None and row.id not in received for row in played),
        single_complete=singles[True],
        single_prefix=singles[False],
        unjudged=dict(sorted(Counter(reasons.get(key, "waiting") for key in unjudged).items())),
        refused=dict(sorted(Counter(last.values()).items())),
        conflicts=conflicts,
    )


def _number(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())
