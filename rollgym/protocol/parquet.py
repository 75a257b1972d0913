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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from rollgym.protocol.episode import Canonical, Column, ExportError, Header, Info, Own, RollbackEvent, Tail
from rollgym.protocol.values import ValueFormatError, pack_value, unpack_value
from rollgym.protocol.version import EPISODE_SCHEMA

MAX_INFO_COLUMNS = 256
MAX_INFO_CELLS = 50_000_000
"""Beyond either, infos are one list in row 0: endless keys, meant or hostile, must not blow the file up."""


class EpisodeFileError(Exception):
    """A file that can not be read as an episode, or an episode that can not be written. Names the file."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = os.fspath(path)
        self.reason = reason


class StoredEpisode(Struct, frozen=True):
    """What a file holds. ``own`` is None in the server's canonical file, ``canonical`` in a file of one peer's part."""

    header: Header
    canonical: Canonical | None
    own: Own | None
    extra: dict[str, str]


class StoredColumn(Struct, frozen=True):
    """How one :class:`~rollgym.protocol.episode.Column` lies in the file."""

    column: str
    """Name in the table."""
    dtype: str
    shape: tuple[int, ...]
    stored: str
    """The dtype of the table's values; other than ``dtype`` where Parquet has no such type."""
    where: str
    """``rows``: value ``i`` in row ``i``. ``list``: all values as one list in row 0."""


class StoredInfo(Struct, frozen=True):
    """How one key of one agent's infos lies in the file."""

    column: str
    agent: int
    key: str
    type: str
    """``bool``, ``int64``, ``float64``, ``string``, or ``packed`` (:func:`rollgym.protocol.values.pack_value`
    bytes)."""


class CanonicalLayout(Struct, frozen=True):
    """Where the canonical part is."""

    columns: dict[str, StoredColumn]
    infos: list[StoredInfo]
    info_list: str | None
    """The column that holds all infos as one list in row 0, if they are not in columns of their own."""


class OwnLayout(Struct, frozen=True):
    """Where the peer's own part is, and what of it is small."""

    player: int
    columns: dict[str, StoredColumn]
    stats: dict[str, Any]
    policy: dict[str, Any]
    software: dict[str, str]
    started_at: float
    ended_at: float
    tail_start: int | None


class Layout(Struct, frozen=True):
    """A file's metadata."""

    header: Header
    canonical: CanonicalLayout | None
    own: OwnLayout | None
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
_INFOS_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("row", pa.int64()),
            pa.field("agent", pa.int64()),
            pa.field("key", pa.string()),
            pa.field("value", pa.binary()),
        ]
    )
)
_INFO_TYPES = {"bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}
_PYTHON_TYPES = {bool: "bool", int: "int64", float: "float64", str: "string"}
_BAD_FILE = (
    pa.ArrowException,
    msgspec.MsgspecError,
    ExportError,
    ValueFormatError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
"""What pyarrow, msgspec, numpy and our own reading raise on a file that is damaged or not ours."""


def write_episode(
    path: str | os.PathLike[str],
    header: Header,
    canonical: Canonical | None,
    own: Own | None,
    extra: Mapping[str, str],
) -> None:
    """Write an episode that passed :func:`rollgym.protocol.episode.check_export` to exactly ``path`` (replaced if
    there).

    The file is complete when this returns, but not yet durable: the caller syncs and renames. Raises
    :class:`EpisodeFileError` for values that have no place in the file, ``OSError`` if the disk refuses.
    """
    rows = header.frames + 1
    table = _Table(rows)
    try:
        layout = Layout(
            header,
            None if canonical is None else _put_canonical(table, canonical, header.game.agents),
            None if own is None else _put_own(table, own),
            dict(extra),
        )
        arrow = pa.table(table.arrays, schema=pa.schema(table.fields, metadata=_metadata(layout)))
    except (pa.ArrowException, ExportError, ValueFormatError, ValueError, OverflowError, TypeError) as error:
        raise EpisodeFileError(path, f"can not be stored: {error}") from error
    # No dictionary encoding: it takes all NaNs for one. Page checksums: a flipped bit is an error, never a value.
    pq.write_table(
        arrow,
        os.fspath(path),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    )


def read_episode(path: str | os.PathLike[str]) -> StoredEpisode:
    """Everything in the file, equal to what was written. Raises :class:`EpisodeFileError` and nothing else."""
    layout, table = read_table(path)
    try:
        canonical = None if layout.canonical is None else _get_canonical(table, layout.canonical)
        own = None if layout.own is None else _get_own(table, layout.own)
    except _BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {_short(error)}") from error
    return StoredEpisode(layout.header, canonical, own, layout.extra)


def read_table(path: str | os.PathLike[str]) -> tuple[Layout, pa.Table]:
    """The file as a table and what its metadata says. Raises :class:`EpisodeFileError` and nothing else."""
    layout = read_layout(path)
    try:
        with pq.ParquetFile(os.fspath(path), memory_map=False, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)
        if table.num_columns and table.num_rows != layout.header.frames + 1:
            raise ValueError(f"{table.num_rows} rows: expected {layout.header.frames + 1}")
    except _BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {_short(error)}") from error
    return layout, table


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """What the file's metadata says, without reading the rows. Raises :class:`EpisodeFileError` and nothing else."""
    try:
        if not Path(path).is_file():
            raise FileNotFoundError("no such file")
        metadata = pq.read_schema(os.fspath(path), memory_map=False).metadata or {}
        if b"rollgym.schema" not in metadata:
            raise ValueError("a Parquet file, but not of this project (no rollgym.schema in its metadata)")
        schema = metadata[b"rollgym.schema"].decode()
        if schema != str(EPISODE_SCHEMA):
            raise ValueError(f"episode schema {schema}: expected {EPISODE_SCHEMA}")
        return Layout(
            _unpack_meta(metadata[b"rollgym.header"], Header),
            _optional(metadata, b"rollgym.canonical", CanonicalLayout),
            _optional(metadata, b"rollgym.own", OwnLayout),
            _unpack_meta(metadata[b"rollgym.extra"], dict[str, str]),
        )
    except _BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {_short(error)}") from error


def _short(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


# --- metadata ---------------------------------------------------------------------------------------------------

T = TypeVar("T")


def _metadata(layout: Layout) -> dict[bytes, bytes]:
    metadata = {
        b"rollgym.schema": str(EPISODE_SCHEMA).encode(),
        b"rollgym.header": _pack_meta(layout.header),
        b"rollgym.extra": _pack_meta(layout.extra),
    }
    if layout.canonical is not None:
        metadata[b"rollgym.canonical"] = _pack_meta(layout.canonical)
    if layout.own is not None:
        metadata[b"rollgym.own"] = _pack_meta(layout.own)
    return metadata


def _pack_meta(value: Any) -> bytes:
    """JSON, or if that would lose something (bytes, NaN), a zero byte and MessagePack."""
    packed = msgspec.msgpack.encode(value)
    try:
        text = msgspec.json.encode(value)
        same = msgspec.msgpack.encode(msgspec.json.decode(text)) == packed
    except (msgspec.MsgspecError, OverflowError, TypeError):
        same = False  # bytes, say: MessagePack has them, JSON does not
    return text if same else b"\0" + packed


def _unpack_meta(data: bytes, kind: type[T]) -> T:
    if data[:1] == b"\0":
        return msgspec.msgpack.decode(data[1:], type=kind)
    return msgspec.json.decode(data, type=kind)


def _optional(metadata: Mapping[bytes, bytes], key: bytes, kind: type[T]) -> T | None:
    return _unpack_meta(metadata[key], kind) if key in metadata else None


# --- columns ----------------------------------------------------------------------------------------------------


class _Table:
    """Columns on the way into a file. Names stay unique; per-frame columns get their null in the last row."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.arrays: list[pa.Array] = []
        self.fields: list[pa.Field] = []
        self._names: set[str] = set()

    def add(self, name: str, array: pa.Array) -> str:
        """Take a column of ``rows`` or ``rows - 1`` values. Returns the name it got."""
        if len(array) == self.rows - 1:
            array = pa.concat_arrays([array, pa.nulls(1, array.type)])
        if len(array) != self.rows:
            raise ValueError(f"column {name}: {len(array)} rows, expected {self.rows - 1} or {self.rows}")
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}#{count}"
        self._names.add(unique)
        self.arrays.append(array)
        self.fields.append(pa.field(unique, array.type))
        return unique

    def add_list(self, name: str, values: pa.Array) -> str:
        """Take values of the episode as a whole: one list in row 0, nulls below."""
        first = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
        return self.add(name, pa.concat_arrays([first, pa.nulls(self.rows - 1, first.type)]))

    def put(self, name: str, column: Column, *, as_list: bool = False) -> StoredColumn:
        """Take a column of the export."""
        values, stored = _to_arrow(column)
        name = self.add_list(name, values) if as_list else self.add(name, values)
        return StoredColumn(name, column.dtype, column.shape, stored, "list" if as_list else "rows")


def _to_arrow(column: Column) -> tuple[pa.Array, str]:
    array = column.array()
    rows = column.shape[0]
    stored = column.dtype
    if stored == "|b1" and (array.view(np.uint8) > 1).any():
        stored = "|u1"  # Parquet keeps one bit of a bool; bytes that are neither 0 nor 1 must survive too.
    elif stored in ("<c8", "<c16"):
        stored = "<f4" if stored == "<c8" else "<f8"
    width = array.size // rows if rows else _width(column.shape[1:])
    if array.size == 0 and rows:
        return pa.nulls(rows), "null"
    flat = np.frombuffer(column.data, dtype=stored)
    if column.dtype.startswith("<c"):
        width *= 2
    values = pa.array(flat)
    if column.shape[1:] or column.dtype.startswith("<c"):
        return (pa.FixedSizeListArray.from_arrays(values, width), stored) if width else (pa.nulls(rows), "null")
    return values, stored


def _width(shape: tuple[int, ...]) -> int:
    width = 1
    for side in shape:
        width *= side
    return width


def _from_arrow(table: pa.Table, place: StoredColumn) -> Column:
    column = Column(place.dtype, place.shape, b"")
    if place.stored == "null":
        column.array()
        return column
    return Column(place.dtype, place.shape, stored_values(table, place).tobytes())


def stored_values(table: pa.Table, place: StoredColumn) -> NDArray[Any]:
    """The values of a stored column in one flat array of dtype ``place.stored``. ``ValueError`` if they do not fit."""
    for dtype in (place.dtype, place.stored):
        Column(dtype, (0,), b"").array()  # numpy would parse anything; this refuses what is not a plain type
    values = _combined(table, place.column)
    if place.where == "list":
        values = values.slice(0, 1).flatten()
    rows = place.shape[0]
    if len(values) < rows or values.slice(0, rows).null_count:
        raise ValueError(f"column {place.column}: null or missing values in its first {rows} rows")
    values = values.slice(0, rows)
    if pa.types.is_nested(values.type):
        values = values.flatten()
    wanted = pa.from_numpy_dtype(np.dtype(place.stored))
    if values.type != wanted:
        values = values.cast(wanted)
    if values.null_count:
        raise ValueError(f"column {place.column}: null values")
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    if flat.size * flat.itemsize != _width(place.shape) * np.dtype(place.dtype).itemsize:
        raise ValueError(f"column {place.column}: {flat.size} values for shape {place.shape} of {place.dtype}")
    return flat


def _combined(table: pa.Table, name: str) -> pa.Array:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


# --- the canonical part -----------------------------------------------------------------------------------------


def _put_canonical(table: _Table, canonical: Canonical, agents: tuple[str, ...]) -> CanonicalLayout:
    columns = {name: table.put(name, column) for name, column in canonical.columns.items()}
    groups: dict[tuple[int, str], tuple[list[int], list[bytes]]] = {}
    for info in canonical.infos:
        rows, values = groups.setdefault((info.agent, info.key), ([], []))
        rows.append(info.row)
        values.append(info.value)
    if len(groups) > MAX_INFO_COLUMNS or len(groups) * table.rows > MAX_INFO_CELLS:
        plain = [{"row": i.row, "agent": i.agent, "key": i.key, "value": i.value} for i in canonical.infos]
        return CanonicalLayout(columns, [], table.add_list("infos", pa.array(plain, _INFOS_TYPE.value_type)))
    infos = []
    for (agent, key), (rows, values) in sorted(groups.items()):
        kind, dense = _info_values(values)
        at = np.full(table.rows, -1, dtype=np.int64)
        at[rows] = np.arange(len(rows))
        taken = dense.take(pa.array(at, mask=at < 0))
        infos.append(StoredInfo(table.add(f"infos/{agents[agent]}/{key}", taken), agent, key, kind))
    return CanonicalLayout(columns, infos, None)


def _info_values(values: list[bytes]) -> tuple[str, pa.Array]:
    """The typed form of packed values if they all have one and lose nothing by it; else the bytes."""
    packed = pa.array(values, pa.binary())
    encoded = packed.dictionary_encode()  # bytes: exact; most infos take few values
    distinct = encoded.dictionary.to_pylist()
    plain = [unpack_value(value) for value in distinct]
    kind = _PYTHON_TYPES.get(type(plain[0]))
    if kind is None or any(type(value) is not type(plain[0]) for value in plain):
        return "packed", packed
    if [pack_value(value) for value in plain] != distinct:
        return "packed", packed
    if kind == "int64" and not all(-(2**63) <= value < 2**63 for value in plain):
        return "packed", packed
    typed = pa.array(np.array(plain, np.float64)) if kind == "float64" else pa.array(plain, _INFO_TYPES[kind])
    return kind, typed.take(encoded.indices)


def _get_canonical(table: pa.Table, layout: CanonicalLayout) -> Canonical:
    columns = {name: _from_arrow(table, place) for name, place in layout.columns.items()}
    if layout.info_list is not None:
        listed = _combined(table, layout.info_list).slice(0, 1).flatten().to_pylist()
        return Canonical(columns, [msgspec.convert(item, _InfoItem).info() for item in listed])
    found: list[tuple[int, int, str, bytes]] = []
    for place in layout.infos:
        column = _combined(table, place.column)
        rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist()
        values = _packed_values(column.drop_null(), place.type)
        found.extend((row, place.agent, place.key, value) for row, value in zip(rows, values, strict=True))
    found.sort()
    return Canonical(columns, [Info(*item) for item in found])


class _InfoItem(Struct):
    row: int
    agent: int
    key: str
    value: bytes

    def info(self) -> Info:
        return Info(self.row, self.agent, self.key, self.value)


def _packed_values(column: pa.Array, kind: str) -> Iterable[bytes]:
    if kind == "packed":
        if not pa.types.is_binary(column.type):
            raise ValueError(f"info column of type {column.type}: expected binary")
        packed: list[bytes] = column.to_pylist()
        return packed
    column = column.cast(_INFO_TYPES[kind])
    known: dict[Any, bytes] = {}
    if kind == "float64":
        floats = column.to_numpy(zero_copy_only=False)
        keys, plain = floats.view(np.int64).tolist(), floats.tolist()  # bits as keys: -0.0 is not 0.0
    else:
        keys = plain = column.to_pylist()
    values = []
    for key, value in zip(keys, plain, strict=True):
        packed_value = known.get(key)
        if packed_value is None:
            packed_value = known[key] = pack_value(value)
        values.append(packed_value)
    return values


# --- one peer's own part ----------------------------------------------------------------------------------------


def _put_own(table: _Table, own: Own) -> OwnLayout:
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


def _get_own(table: pa.Table, layout: OwnLayout) -> Own:
    events = _combined(table, ROLLBACKS).slice(0, 1).flatten().to_pylist()
    tail = None
    if layout.tail_start is not None:
        frames = _combined(table, TAIL).slice(0, 1).flatten().to_pylist()
        tail = Tail(
            layout.tail_start,
            [tuple(frame["inputs"]) for frame in frames],
            [tuple(frame["real"]) for frame in frames],
            [tuple(frame["rewards"]) for frame in frames],
        )
    return Own(
        layout.player,
        {name: _from_arrow(table, place) for name, place in layout.columns.items()},
        [msgspec.convert(event, RollbackEvent) for event in events],
        tail,
        layout.stats,
        layout.policy,
        layout.software,
        layout.started_at,
        layout.ended_at,
    )
