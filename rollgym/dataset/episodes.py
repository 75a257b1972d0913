"""All episodes of a data folder in one table, without reading their frames."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from rollgym.dataset.episode_rows import TableRow, table
from rollgym.dataset.episodes_in_catalogue import catalogue_at, rows_in_catalogue
from rollgym.dataset.episodes_in_files import rows_in_files
from rollgym.dataset.filters import NO_VERDICTS, VERDICTS, OneOrMore, Wanted
from rollgym.dataset.sources import episode_sources


def episodes(
    path: str | os.PathLike[str],
    *,
    match: OneOrMore = None,
    game: OneOrMore = None,
    experiment: OneOrMore = None,
    condition: OneOrMore = None,
    verdict: OneOrMore = None,
    status: OneOrMore = None,
) -> pa.Table:
    """One Arrow table with a row for each player of each episode at ``path``, by match, episode and player.

    Who played what where, the verdict, the length, the return (the sum of the rewards of the player's agent), and how
    it went: rollbacks, mispredictions, stalls, round-trip time, frames per second. ``docs/dataset.md`` has the columns.
    For pandas add ``.to_pandas()``, for polars ``polars.from_arrow(...)``.

    Of a data folder that a server wrote it is read from the catalogue alone, and nothing is left out: episodes without
    a verdict are there as ``unjudged``; with a null for the episode, matches that were undone before play began
    (``annulled``) and matches that are over and of which nothing was received (``missing``). Nothing is written; a
    server may be at work there. Episodes that a server of an earlier version judged are looked up in their files, each
    time.

    Any other path that :func:`rollgym.load` takes (an output of ``rollgym simulate``, a folder of peers' files, one
    file) is read file by file: some milliseconds for each episode.

    The filters are those of :func:`rollgym.load`: one value or several each.

    Raises ``ValueError`` for a verdict or a status that there is not, ``FileNotFoundError`` if there is no such path,
    or no catalogue and no file of an episode there, :class:`~rollgym.dataset.filters.NoSuchEpisodeError` if the
    filters leave none of those that are there,
    :class:`~rollgym.protocol.files.parquet.EpisodeFileError`, which names the file, for one that has to be
    read and cannot be, and :class:`~rollgym.server.errors.ServerError` for a catalogue that cannot be read.
    """
    wanted = Wanted.of(
        match=match,
        game=game,
        experiment=experiment,
        condition=condition,
        verdict=verdict,
        status=status,
        verdicts=(*VERDICTS, *NO_VERDICTS),
    )
    return table(_rows(Path(path), wanted))


def _rows(path: Path, wanted: Wanted) -> list[TableRow]:
    place = catalogue_at(path)
    if place is None:
        return [*rows_in_files(path, episode_sources(path, wanted))]
    rows = rows_in_catalogue(place)
    if not wanted.given() or not rows:
        return rows
    left = [row for row in rows if wanted.takes(row.said())]
    if not left:
        there = {(row.match, row.episode): row.said() for row in rows}
        raise wanted.why_none(path, [*there.values()])
    return left
