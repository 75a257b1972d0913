"""Infos as columns of an episode file, one for each agent and key, of the type that its values have. Lossless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Struct

from rollgym.protocol.column_names import is_writable, joined
from rollgym.protocol.episode.export import Info
from rollgym.protocol.episode.values import pack_value, unpack_value
from rollgym.protocol.files.columns import TableBuilder, combined
from rollgym.protocol.files.layout import CanonicalLayout, StoredInfo

MAX_INFO_COLUMNS = 256
MAX_INFO_CELLS = 50_000_000
"""Beyond either, infos are one list in row 0: endless keys, meant or hostile, must not blow the file up."""

INFO_LIST_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("row", pa.int64()),
            pa.field("agent", pa.int64()),
            pa.field("key", pa.string()),
            pa.field("value", pa.binary()),
        ]
    )
)
_PLAIN_TYPES = {"bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "string": pa.string()}
_PYTHON_TYPES = {bool: "bool", int: "int64", float: "float64", str: "string"}
_SCALAR = re.compile(r"[|][biu]1|<[iu][248]|<f[248]")
"""Dtypes of numpy scalars that a column can have."""


def info_type(kind: str) -> pa.DataType:
    """The type of the column of a :class:`StoredInfo`. Raises ``ValueError`` for a kind that there is not."""
    if kind == "packed":
        return pa.binary()
    if kind in _PLAIN_TYPES:
        return _PLAIN_TYPES[kind]
    if _SCALAR.fullmatch(kind) is None:
        raise ValueError(f"infos of type {kind[:32]!r}: not a type of this schema")
    return pa.from_numpy_dtype(np.dtype(kind))


def put_infos(table: TableBuilder, infos: list[Info], agents: tuple[str, ...]) -> tuple[list[StoredInfo], str | None]:
    """Take infos into a table: where they are, or the column that holds all of them as one list."""
    groups: dict[tuple[int, str], tuple[list[int], list[bytes]]] = {}
    for info in infos:
        rows, values = groups.setdefault((info.agent, info.key), ([], []))
        rows.append(info.row)
        values.append(info.value)
    if len(groups) > MAX_INFO_COLUMNS or len(groups) * table.rows > MAX_INFO_CELLS:
        plain = [{"row": i.row, "agent": i.agent, "key": i.key, "value": i.value} for i in infos]
        return [], table.add_list("infos", pa.array(plain, INFO_LIST_TYPE.value_type))
    stored = []
    for (agent, key), (rows, values) in sorted(groups.items()):
        kind, dense = _typed(values)
        at = np.full(table.rows, -1, dtype=np.int64)
        at[rows] = np.arange(len(rows))
        taken = dense.take(pa.array(at, mask=at < 0))
        name = joined(["infos", agents[agent], key], "/")
        stored.append(StoredInfo(table.add(name, taken), agent, key, kind))
    return stored, None


def _typed(values: list[bytes]) -> tuple[str, pa.Array]:
    """The typed form of packed values if they all have one and lose nothing by it; else the bytes."""
    packed = pa.array(values, pa.binary())
    encoded = packed.dictionary_encode()  # bytes: exact; most infos take few values
    distinct = encoded.dictionary.to_pylist()
    plain = [unpack_value(value) for value in distinct]
    kind = _kind(plain)
    if kind == "packed" or [pack_value(value) for value in plain] != distinct:
        return "packed", packed
    if kind in ("bool", "int64", "string"):
        return kind, pa.array(plain, info_type(kind)).take(encoded.indices)
    return kind, pa.array(np.array(plain, np.dtype(kind))).take(encoded.indices)


def _kind(plain: list[Any]) -> str:
    """What all of these values are."""
    first = plain[0]
    if any(type(value) is not type(first) for value in plain):
        return "packed"
    if isinstance(first, np.generic):
        return first.dtype.str if _SCALAR.fullmatch(first.dtype.str) else "packed"
    kind = _PYTHON_TYPES.get(type(first), "packed")
    if kind == "int64" and not all(-(2**63) <= value < 2**63 for value in plain):
        return "packed"
    return "packed" if kind == "string" and not all(map(is_writable, plain)) else kind


def get_infos(table: pa.Table, layout: CanonicalLayout) -> list[Info]:
    """What :func:`put_infos` took in."""
    if layout.info_list is not None:
        listed = combined(table, layout.info_list).slice(0, 1).flatten().to_pylist()
        return [msgspec.convert(item, _InfoItem).info() for item in listed]
    found: list[tuple[int, int, str, bytes]] = []
    for place in layout.infos:
        rows, column = _present(table, place)
        values = _packed_values(column, place.type)
        found.extend((row, place.agent, place.key, value) for row, value in zip(rows, values, strict=True))
    found.sort()
    return [Info(*item) for item in found]


class InfoValues(NamedTuple):
    """What an agent's infos hold under one key, in the rows in which they do."""

    agent: int
    key: str
    rows: list[int]
    values: list[Any]


def get_info_values(table: pa.Table, layout: CanonicalLayout) -> Iterator[InfoValues]:
    """What :func:`get_infos` gives, unpacked, each value an object of its own; by agent and key.

    Raises like it, and :class:`~rollgym.protocol.episode.values.ValueFormatError`.
    """
    if layout.info_list is not None:
        for info in sorted(get_infos(table, layout), key=lambda info: (info.agent, info.key)):
            yield InfoValues(info.agent, info.key, [info.row], [unpack_value(info.value)])
        return
    for place in sorted(layout.infos, key=lambda place: (place.agent, place.key)):
        rows, column = _present(table, place)
        if place.type == "packed":
            values = [unpack_value(value) for value in _packed_values(column, place.type)]
        else:
            _, values = _plain_values(column.cast(info_type(place.type)), place.type)
        yield InfoValues(place.agent, place.key, rows, values)


def _present(table: pa.Table, place: StoredInfo) -> tuple[list[int], pa.Array]:
    """In which rows the key is there, and its values."""
    column = combined(table, place.column)
    if not column.null_count:
        return [*range(len(column))], column
    return np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist(), column.drop_null()


class _InfoItem(Struct):
    row: int
    agent: int
    key: str
    value: bytes

    def info(self) -> Info:
        return Info(self.row, self.agent, self.key, self.value)


def _packed_values(column: pa.Array, kind: str) -> Iterable[bytes]:
    wanted = info_type(kind)
    if kind == "packed":
        if not pa.types.is_binary(column.type):
            raise ValueError(f"info column of type {column.type}: expected binary")
        packed: list[bytes] = column.to_pylist()
        return packed
    known: dict[Any, bytes] = {}
    result = []
    for key, value in zip(*_plain_values(column.cast(wanted), kind), strict=True):
        packed_value = known.get(key)
        if packed_value is None:
            packed_value = known[key] = pack_value(value)
        result.append(packed_value)
    return result


def _plain_values(column: pa.Array, kind: str) -> tuple[list[Any], list[Any]]:
    """Values that are not packed, and for each what tells it from others."""
    if kind in ("bool", "int64", "string"):
        plain: list[Any] = column.to_pylist()
        return plain, plain
    values = column.to_numpy(zero_copy_only=False)
    # Bits as keys: -0.0 is not 0.0.
    keys = np.ascontiguousarray(values).view(f"u{values.itemsize}").tolist()
    return keys, values.tolist() if kind == "float64" else [*values.astype(kind)]
