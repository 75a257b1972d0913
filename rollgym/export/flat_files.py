"""Export as flat tables: CSV files, or Parquet files that pandas and polars read as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from rollgym.export.files import episode_stem, write_about, write_csv, write_parquet
from rollgym.export.plan import NothingToExportError, Plan, info_columns_by_game, spaces_key
from rollgym.flat import in_order
from rollgym.sources import Source
from rollgym.tables import EpisodeTables, read_tables


def stems(found: Plan) -> list[str]:
    """A name for every episode version, relative to the folder. Raises :class:`NothingToExportError` for doubles."""
    names: dict[str, Source] = {}
    for source in found.wanted:
        header = source.layout.header
        name = episode_stem(header.match, header.episode, source.writer)
        if name in names:
            raise NothingToExportError(
                f"{source.path}: the same match, episode and player as {names[name].path}; export them apart"
            )
        names[name] = source
    return list(names)


def export_csv(found: Plan, out: Path, *, observations: bool) -> Iterator[list[Path]]:
    """Write them, one file for each episode and player, and yield the files of each episode.

    Raises ``OSError`` if the disk refuses, :class:`~protocol.parquet.EpisodeFileError`.
    """
    infos = info_columns_by_game(found)
    for source, stem in zip(found.wanted, stems(found), strict=True):
        tables = read_tables(source)
        written = []
        players: list[int | None] = [*sorted(tables.own)]
        for player in players or [None]:
            name = stem if player is None or source.writer is not None else f"{stem}.player_{player}"
            path = out / f"{name}.csv"
            table = _with_infos(tables, player, infos[spaces_key(source.layout)])
            write_csv(path, table if observations else without_observations(table))
            write_about(path.with_suffix(".json"), tables)
            written += [path, path.with_suffix(".json")]
        yield written


def export_parquet(found: Plan, out: Path, *, observations: bool) -> Iterator[list[Path]]:
    """Write them, one file for each episode, and yield it.

    Raises ``OSError`` if the disk refuses, :class:`~protocol.parquet.EpisodeFileError`.
    """
    infos = info_columns_by_game(found)
    for source, stem in zip(found.wanted, stems(found), strict=True):
        tables = read_tables(source)
        table = _with_infos(tables, None, infos[spaces_key(source.layout)])
        path = out / f"{stem}.parquet"
        write_parquet(path, table if observations else without_observations(table))
        yield [path]


def without_observations(table: pa.Table) -> pa.Table:
    """The table without its widest columns."""
    return table.select([name for name in table.column_names if not name.startswith("observations.")])


def _with_infos(tables: EpisodeTables, player: int | None, infos: dict[str, pa.DataType]) -> pa.Table:
    plain = tables.table(player)
    columns = {field.name: field.type for field in plain.schema}
    return tables.table(player, in_order(columns | infos))
