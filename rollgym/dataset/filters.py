"""Which episodes are wanted: the filters that everything which reads a dataset shares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from rollgym.protocol.episode.export import Status
from rollgym.protocol.messages import ANNULLED

VERDICTS = ("verified", "diverged", "single", "partial")
"""What a server may say of an episode."""

UNJUDGED = "unjudged"
MISSING = "missing"
NO_VERDICTS = (UNJUDGED, ANNULLED, MISSING)
"""In place of a verdict, where a catalogue tells it: it was received and has none; the match was undone before play
began; the match is over and nothing of it was received."""

FILTERS = ("match", "game", "experiment", "condition", "verdict", "status")

OneOrMore = str | Collection[str] | None
"""A filter: the value that is wanted, or several. None: whatever it is."""


class NoSuchEpisodeError(LookupError):
    """There are episodes, but none that the filters let through. Says which filter, and what there is."""


@dataclass(frozen=True)
class Wanted:
    """Which episodes. None: whatever it is."""

    match: Collection[str] | None = None
    game: Collection[str] | None = None
    experiment: Collection[str] | None = None
    condition: Collection[str] | None = None
    verdict: Collection[str] | None = None
    status: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        match: OneOrMore = None,
        game: OneOrMore = None,
        experiment: OneOrMore = None,
        condition: OneOrMore = None,
        verdict: OneOrMore = None,
        status: OneOrMore = None,
        verdicts: Sequence[str] = VERDICTS,
    ) -> Wanted:
        """From what a user gives. Raises ``ValueError`` for a verdict (``verdicts``) or a status that there is not."""
        for name, value, known in (("verdict", verdict, verdicts), ("status", status, get_args(Status))):
            for one in _one_or_more(value) or ():
                if one not in known:
                    raise ValueError(f"{name} {one!r}: expected one or several of {', '.join(known)}")
        return cls(*map(_one_or_more, (match, game, experiment, condition, verdict, status)))

    def given(self) -> dict[str, Collection[str]]:
        """The filters that are not None, by name."""
        every = {name: getattr(self, name) for name in FILTERS}
        return {name: values for name, values in every.items() if values is not None}

    def takes(self, said: Mapping[str, str | None]) -> bool:
        """Whether an episode of which this is said is wanted. What nothing is said of is never wanted."""
        return all(said[name] in values for name, values in self.given().items())

    def why_none(self, path: str | os.PathLike[str], there: Sequence[Mapping[str, str | None]]) -> NoSuchEpisodeError:
        """Of these episodes none is wanted: what to raise."""
        reasons = []
        for name, values in self.given().items():
            counts = Counter(said[name] for said in there)
            if not any(value in counts for value in values):
                known = [f"{value!r} ({counts[value]})" for value in sorted(filter(None, counts))]
                known += [f"{counts[None]} that do not say"] if counts[None] else []
                shown = known if len(known) <= 10 else [*known[:10], f"{len(known) - 10} more"]
                reasons.append(f"{name} {_named(values)}: there are {', '.join(shown)}")
        if not reasons:
            every = ", ".join(f"{name} {_named(values)}" for name, values in self.given().items())
            reasons = [f"all of {every} at once, though there are some of each"]
        return NoSuchEpisodeError(f"{os.fspath(path)}: none of {len(there)} episodes has {'; '.join(reasons)}")


def _one_or_more(value: OneOrMore) -> Collection[str] | None:
    return (value,) if isinstance(value, str) else value


def _named(values: Collection[str]) -> str:
    return " or ".join(map(repr, values)) or "(nothing)"
