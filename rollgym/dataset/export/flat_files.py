"""Export as flat tables: CSV files, or Parquet files that pandas and polars read as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from rollgym.dataset.export.files import episode_stem, write_about, write_csv, write_parquet
from rollgym.dataset.export.plan import NothingToExportError, Plan, by_columns
from rollgym.dataset.flat_infos import info_fields
from rollgym.dataset.flat_table import OWN_PREFIXES, in_order, own_fields
from rollgym.dataset.sources import Source
from rollgym.dataset.tables import read_tables


class _File(NamedTuple):
    """One episode version to be written."""

    source: Source
    stem: str
    """Its name without an ending, relative to the folder."""
    infos: dict[str, pa.Field]
    """Info columns: those of all files of its game."""
    players: list[int]
    """Whose own parts some file of its game has."""


def export_csv(found: Plan, out: Path, *, observations: bool) -> Iterator[list[Path]]:
    """Write them, one file for each episode and player, and yield the files of each episode.

    Raises :class:`NothingToExportError` for doubles, ``OSError`` if the disk refuses, and
    :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    for file in _files(found):
        tables = read_tables(file.source)
        written = []
        players: list[int | None] = [*sorted(tables.own)]
        for player in players or [None]:
            name = file.stem if player is None or file.source.writer is not None else f"{file.stem}.player_{player}"
            path = out / f"{name}.csv"
            table = tables.table(player, in_order(_fixed(tables.table(player)) | file.infos))
            table = table if observations else without_observations(table)
            write_csv(path, table)
            write_about(path.with_suffix(".json"), tables, table)
            written += [path, path.with_suffix(".json")]
        yield written


def export_parquet(found: Plan, out: Path, *, observations: bool) -> Iterator[list[Path]]:
    """Write them, one file for each episode, and yield it. All files of a game have the same columns.

    Raises as :func:`export_csv`.
    """
    for file in _files(found):
        tables = read_tables(file.source)
        agents = file.source.layout.header.game.players
        own = {field.name: field for player in file.players for field in own_fields(agents[player])}
        fixed = {name: field for name, field in _fixed(tables.table()).items() if _first(name) not in OWN_PREFIXES}
        table = tables.table(None, in_order(fixed | own | file.infos))
        path = out / f"{file.stem}.parquet"
        write_parquet(path, table if observations else without_observations(table))
        yield [path]


def _files(found: Plan) -> list[_File]:
    files: dict[str, _File] = {}
    for game, group in by_columns(found).items():
        infos = {field.name: field for field in info_fields(source.layout for source in group).values()}
        players = sorted({player for source in group for player in source.own})
        for source in group:
            header = source.layout.header
            stem = f"{game}/{episode_stem(header.match, header.episode, source.writer)}"
            if stem in files:
                raise NothingToExportError(
                    f"{source.path}: the same match, episode and player as {files[stem].source.path}; export them apart"
                )
            files[stem] = _File(source, stem, infos, players)
    return list(files.values())


def _fixed(table: pa.Table) -> dict[str, pa.Field]:
    """The columns of a table that every episode of its game has."""
    return {field.name: field for field in table.schema if _first(field.name) != "infos"}


def _first(name: str) -> str:
    return name.split(".", 1)[0]


def without_observations(table: pa.Table) -> pa.Table:
    """The table without its widest columns."""
    return table.select([name for name in table.column_names if not name.startswith("observations.")])
