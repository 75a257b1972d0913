"""The rows of :func:`rollgym.episodes` from a data folder's catalogue. Reads only; a server may be writing it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec

from rollgym.dataset.episode_rows import TableRow
from rollgym.dataset.filters import MISSING, UNJUDGED
from rollgym.protocol.messages import ANNULLED
from rollgym.server.record.episode_players import FilePart, stored_episode_player
from rollgym.server.storage.overview import OverviewMatch, OverviewRow
from rollgym.server.storage.record import catalogue_copy, catalogue_of

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
    names = lru_cache(maxsize=1024)(msgspec.json.Decoder(tuple[str, ...]).decode)
    players = lru_cache(maxsize=1024)(msgspec.json.Decoder(tuple[int, ...]).decode)
    with catalogue_copy(place) as copy:
        played, found = copy.overview_matches(), copy.overview()
    root = place.parent
    return [
        _row(root, row, played[row.match], names(row.files or b"[]"), players(row.players or b"[]")) for row in found
    ]


def _row(
    root: Path,
    row: OverviewRow,
    match: OverviewMatch,
    names: tuple[str, ...],
    players: tuple[int, ...],
) -> TableRow:
    about = row.player in players
    folder = f"episodes/{row.match}/episode_{row.episode or 0:06d}"
    version = f"canonical.player_{row.player}.parquet"
    facts = FACTS if FACTS in names else version if version in names else None
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
