"""The episodes of a data folder from its catalogue. Reads only; a server may be writing it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec

from rollgym.dataset.episode_rows import TableRow
from rollgym.dataset.facts_files import FactsFile
from rollgym.dataset.filters import MISSING, UNJUDGED
from rollgym.protocol.files.episode_players import FilePart, stored_episode_player
from rollgym.protocol.messages import ANNULLED
from rollgym.server.storage.overview import OverviewMatch, OverviewRow
from rollgym.server.storage.record import catalogue_copy, catalogue_of

T = TypeVar("T")

FACTS = "canonical.parquet"


def catalogue_at(path: Path) -> Path | None:
    """The catalogue of a data folder; None for any other path, and for a catalogue in which nothing ever was."""
    place = catalogue_of(path)
    return place if place.is_file() and place.stat().st_size else None


def rows_in_catalogue(place: Path) -> list[TableRow]:
    """Every episode that the catalogue knows of. Files are read only of episodes that an earlier version judged.

    Raises :class:`~rollgym.server.errors.ServerError`, and
    :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for such a file.
    """
    names, players = _decoder(tuple[str, ...]), _decoder(tuple[int, ...])
    with catalogue_copy(place) as copy:
        played, found = copy.overview_matches(), copy.overview()
    root = place.parent
    return [
        _row(root, row, played[row.match], names(row.files or b"[]"), players(row.players or b"[]")) for row in found
    ]


def facts_in_catalogue(place: Path) -> list[FactsFile]:
    """The files of the facts that verdicts are about. None is opened, and none is looked for.

    Raises :class:`~rollgym.server.errors.ServerError`.
    """
    names = _decoder(tuple[str, ...])
    with catalogue_copy(place) as copy:
        played, rows = copy.overview_matches(), copy.overview()
    root = os.path.abspath(place.parent)  # noqa: PTH100 - as it is, with its links; and paths of text: there are many
    found: dict[str, FactsFile] = {}
    for row in rows:
        folder, facts = _facts(row, names(row.files or b"[]"))
        if facts is not None and (path := f"{root}/{folder}/{facts}") not in found:
            found[path] = _file(path, row, played[row.match], None if facts == FACTS else row.player)
    return [*found.values()]


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Of JSON of which there are few, over and over."""
    return lru_cache(maxsize=1024)(msgspec.json.Decoder(kind).decode)


def _facts(row: OverviewRow, names: tuple[str, ...]) -> tuple[str, str | None]:
    """An episode's folder, and in it the file of the facts that are said of this player."""
    version = f"canonical.player_{row.player}.parquet"
    facts = FACTS if FACTS in names else version if version in names else None
    return f"episodes/{row.match}/episode_{row.episode or 0:06d}", facts


def _file(path: str, row: OverviewRow, match: OverviewMatch, version: int | None) -> FactsFile:
    own = version is not None
    return FactsFile(
        path=path,
        kind=match.identity,
        layout=None,
        match=row.match,
        episode=row.episode or 0,
        player=version,
        experiment=row.experiment,
        condition=row.condition,
        match_number=row.number,
        game=match.game,
        game_version=match.version,
        input_delay=match.input_delay,
        verdict=row.verdict,
        status=row.upload_status if own else row.status,
        frames=row.upload_frames if own else row.frames,
        seed=row.seed,
    )


def _row(
    root: Path,
    row: OverviewRow,
    match: OverviewMatch,
    names: tuple[str, ...],
    players: tuple[int, ...],
) -> TableRow:
    about = row.player in players
    folder, facts = _facts(row, names)
    own = f"player_{row.player}.parquet" if about else None
    counted, frames, status = row.counted, row.frames, row.status
    if about and counted is None:
        counted = stored_episode_player(*(FilePart.at(root / folder / str(name)) for name in (facts, own)))
    if facts != FACTS:
        # Diverged: each version of the facts has a length and an end of its own.
        frames, status = (row.upload_frames, row.upload_status) if facts else (None, None)
    return TableRow(
        match=row.match,
        episode=row.episode,
        player=row.player,
        agent=match.players[row.player],
        participant=row.participant,
        game=match.game,
        game_version=match.version,
        input_delay=match.input_delay,
        experiment=row.experiment,
        condition=row.condition,
        match_number=row.number,
        verdict=row.verdict or _instead(row),
        detail=row.reason if row.episode is None else row.detail,
        status=status,
        frames=frames,
        seed=row.seed,
        own_status=row.upload_status,
        own_frames=row.upload_frames,
        counted=counted,
        match_created=row.created,
        match_ended=row.ended,
        received=row.received,
        judged=row.judged,
        facts_file=f"{folder}/{facts}" if facts else None,
        own_file=f"{folder}/{own}" if own else None,
    )


def _instead(row: OverviewRow) -> str:
    """What stands where an episode has no verdict."""
    if row.episode is not None:
        return UNJUDGED
    return ANNULLED if row.annulled else MISSING
