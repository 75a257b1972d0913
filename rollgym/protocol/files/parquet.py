"""Episodes in Parquet files: one row per frame, plus one last row for the final observation. Lossless.

``docs/dataset.md`` has the layout. In short: row ``f`` holds what frame ``f`` started from (its observation and the
infos that came with it) and what was done and got in frame ``f``; in row ``T`` the columns of the latter are null.
Rows of more than one number are fixed-size lists in C order. Canonical columns keep their names, infos are
``infos/<agent>/<key>`` (null: the key was not there), the peer's own columns are ``own/<name>``. What belongs to
the episode and not to a frame (the rollbacks, say) is a list in row 0. The schema's metadata says everything else,
dtypes and shapes included; it is JSON wherever JSON can hold it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Canonical, Header, Own, RollbackEvent, Tail
from rollgym.protocol.episode.values import ValueFormatError
from rollgym.protocol.files.columns import TableBuilder, combined, from_arrow, stored_values
from rollgym.protocol.files.infos import get_infos, info_type, put_infos
from rollgym.protocol.files.layout import (
    BAD_FILE,
    CanonicalLayout,
    EpisodeFileError,
    Footer,
    Layout,
    OwnLayout,
    StoredColumn,
    StoredInfo,
    metadata_of,
    read_arrow,
    read_footer,
    read_layout,
    read_schema,
    short,
)

__all__ = [
    "CanonicalLayout",
    "EpisodeFileError",
    "Footer",
    "Layout",
    "OwnLayout",
    "StoredColumn",
    "StoredEpisode",
    "StoredInfo",
    "info_type",
    "read_arrow",
    "get_own",
    "read_episode",
    "read_footer",
    "read_layout",
    "read_schema",
    "read_table",
    "stored_values",
    "write_episode",
]


class StoredEpisode(Struct, frozen=True):
    """What a file holds. ``own`` is None in the server's canonical file, ``canonical`` in a file of one peer's part."""

    header: Header
    canonical: Canonical | None
    own: Own | None
    extra: dict[str, str]


ROLLBACKS = "own/rollback_events"
TAIL = "own/tail"

_ROLLBACKS_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("at_frame", pa.int64()),
            pa.field("to_frame", pa.int64()),
            pa.field("depth", pa.int64()),
            pa.field("player", pa.int64()),
            pa.field("predicted", pa.binary()),
            pa.field("actual", pa.binary()),
            pa.field("time", pa.float64()),
        ]
    )
)
_TAIL_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("inputs", pa.list_(pa.binary())),
            pa.field("real", pa.list_(pa.bool_())),
            pa.field("rewards", pa.list_(pa.float64())),
        ]
    )
)


def write_episode(
    path: str | os.PathLike[str],
    header: Header,
    canonical: Canonical | None,
    own: Own | None,
    extra: Mapping[str, str],
) -> None:
    """Write an episode to exactly ``path``, which is replaced if it is there.

    The episode has passed :func:`rollgym.protocol.episode.export_check.check_export`.

    The file is complete when this returns, but not yet durable: the caller syncs and renames. Raises
    :class:`EpisodeFileError` for values that have no place in the file, ``OSError`` if the disk refuses.
    """
    arrow = _as_arrow(path, header, canonical, own, extra)
    # No dictionary encoding: it takes all NaNs for one. Page checksums: a flipped bit is an error, never a value.
    with Path(path).open("wb") as file:  # Arrow itself opens no path that is not text
        pq.write_table(
            arrow, file, compression="zstd", use_dictionary=False, write_statistics=False, write_page_checksum=True
        )


def check_storable(header: Header, canonical: Canonical, own: Own) -> None:
    """Whether :func:`write_episode` would write it: by writing it, uncompressed, to nowhere.

    Raises :class:`EpisodeFileError` for values that have no place in a file.
    """
    arrow = _as_arrow("export", header, canonical, own, {})
    try:
        pq.write_table(arrow, pa.MockOutputStream(), compression="none", use_dictionary=False, write_statistics=False)
    except pa.ArrowException as error:
        raise EpisodeFileError("export", f"cannot be stored: {error}") from error


def _as_arrow(
    path: str | os.PathLike[str],
    header: Header,
    canonical: Canonical | None,
    own: Own | None,
    extra: Mapping[str, str],
) -> pa.Table:
    table = TableBuilder(header.frames + 1)
    try:
        layout = Layout(
            header,
            None if canonical is None else _put_canonical(table, canonical, header.game.agents),
            None if own is None else _put_own(table, own),
            dict(extra),
        )
        return pa.table(table.arrays, schema=pa.schema(table.fields, metadata=metadata_of(layout)))
    except (pa.ArrowException, ExportError, ValueFormatError, ValueError, OverflowError, TypeError) as error:
        raise EpisodeFileError(path, f"cannot be stored: {error}") from error


def read_episode(path: str | os.PathLike[str]) -> StoredEpisode:
    """Everything in the file, equal to what was written. Raises :class:`EpisodeFileError` and nothing else."""
    layout, table = read_table(path)
    try:
        canonical = None if layout.canonical is None else _get_canonical(table, layout.canonical)
        own = None if layout.own is None else get_own(table, layout.own)
    except BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {short(error)}") from error
    return StoredEpisode(layout.header, canonical, own, layout.extra)


def read_table(path: str | os.PathLike[str], footer: Footer | None = None) -> tuple[Layout, pa.Table]:
    """The file as a table and what its metadata says. Raises :class:`EpisodeFileError` and nothing else.

    ``footer``: what :func:`read_footer` gave of this file just now.
    """
    layout, parsed = footer or read_footer(path)
    try:
        table = read_arrow(path, parsed=parsed)
        if table.num_columns and table.num_rows != layout.header.frames + 1:
            raise ValueError(f"{table.num_rows} rows: expected {layout.header.frames + 1}")
    except BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {short(error)}") from error
    return layout, table


def _put_canonical(table: TableBuilder, canonical: Canonical, agents: tuple[str, ...]) -> CanonicalLayout:
    columns = {name: table.put(name, column) for name, column in canonical.columns.items()}
    return CanonicalLayout(columns, *put_infos(table, canonical.infos, agents))


def _get_canonical(table: pa.Table, layout: CanonicalLayout) -> Canonical:
    columns = {name: from_arrow(table, place) for name, place in layout.columns.items()}
    return Canonical(columns, get_infos(table, layout))


def _put_own(table: TableBuilder, own: Own) -> OwnLayout:
    columns = {
        name: table.put(f"own/{name}", column, as_list=name == "seen_frame" or name.startswith("seen/"))
        for name, column in own.columns.items()
    }
    events = [msgspec.structs.asdict(event) for event in own.rollbacks]
    table.add_list(ROLLBACKS, pa.array(events, _ROLLBACKS_TYPE.value_type))
    if own.tail is not None:
        tail = [
            {"inputs": list(inputs), "real": list(real), "rewards": list(rewards)}
            for inputs, real, rewards in zip(own.tail.inputs, own.tail.real, own.tail.rewards, strict=True)
        ]
        table.add_list(TAIL, pa.array(tail, _TAIL_TYPE.value_type))
    return OwnLayout(
        own.player,
        columns,
        own.stats,
        own.policy,
        own.software,
        own.started_at,
        own.ended_at,
        None if own.tail is None else own.tail.start,
    )


def get_own(table: pa.Table, layout: OwnLayout) -> Own:
    """A peer's own part. Raises what is in :data:`~rollgym.protocol.files.layout.BAD_FILE`."""
    events = combined(table, ROLLBACKS).slice(0, 1).flatten().to_pylist()
    tail = None
    if layout.tail_start is not None:
        frames = combined(table, TAIL).slice(0, 1).flatten().to_pylist()
        tail = Tail(
            layout.tail_start,
            [tuple(frame["inputs"]) for frame in frames],
            [tuple(frame["real"]) for frame in frames],
            [tuple(frame["rewards"]) for frame in frames],
        )
    return Own(
        layout.player,
        {name: from_arrow(table, place) for name, place in layout.columns.items()},
        [msgspec.convert(event, RollbackEvent) for event in events],
        tail,
        layout.stats,
        layout.policy,
        layout.software,
        layout.started_at,
        layout.ended_at,
    )
