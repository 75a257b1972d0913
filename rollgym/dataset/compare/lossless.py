"""Two episode files of the dataset's own form: bit for bit, types included. NaN equals NaN and 1 differs from 1.0."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from rollgym.dataset.compare.result import Comparison, Difference, conclude, missing_row, short
from rollgym.dataset.stored_spaces import renamed
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.export import Header
from rollgym.protocol.episode.values import pack_value, unpack_value
from rollgym.protocol.files.parquet import EpisodeFileError, Layout, StoredInfo, info_type, read_table, stored_values

_Mask = NDArray[np.bool_]


class _Column(Struct):
    kind: str
    """What has to agree before rows can be compared: dtype and row shape."""
    values: Any
    """Infos are Arrow arrays, null where the key is not there; everything else is a numpy array."""
    is_info: bool = False


class _Side(Struct):
    header: Header
    columns: dict[str, _Column]


def compare_lossless(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> Comparison:
    """Compare the canonical frames of two files.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for a file that is unreadable or holds no canonical
    frame.
    """
    one, two = _load(first), _load(second)
    outside = _header_differences(one.header, two.header)
    inside: list[Difference] = []
    counts: dict[str, int] = {}
    for name in sorted({*one.columns, *two.columns}):
        left, right = one.columns.get(name), two.columns.get(name)
        if left is None or right is None or (left.kind != right.kind and not left.is_info):
            texts = ["missing" if side is None else side.kind for side in (left, right)]
            outside.append(Difference(None, name, (), texts[0], texts[1]))
            continue
        rows = np.flatnonzero(_differing_rows(left, right))
        if rows.size:
            counts[name] = int(rows.size)
            inside.append(_describe(name, left, right, int(rows[0])))
    frames = (one.header.frames, two.header.frames)
    if frames[0] != frames[1]:
        inside.append(missing_row(frames))
    columns = (len(one.columns), len(two.columns))
    return conclude((first, second), ("episode", "episode"), frames, columns, inside, outside, counts)


def _header_differences(one: Header, two: Header) -> list[Difference]:
    found: list[Difference] = []

    def walk(left: Any, right: Any, path: str) -> None:
        if isinstance(left, dict) and isinstance(right, dict):
            for key in [*left, *(k for k in right if k not in left)]:
                walk(left.get(key, "(missing)"), right.get(key, "(missing)"), f"{path}.{key}")
        elif pack_value(left) != pack_value(right):
            found.append(Difference(None, path, (), short(left), short(right)))

    walk(msgspec.to_builtins(one), msgspec.to_builtins(two), "header")
    # How many frames there are shows in the frames themselves, at the frame where one file ends.
    return [difference for difference in found if difference.field != "header.frames"]


# --- reading ----------------------------------------------------------------------------------------------------


def _load(path: str | os.PathLike[str]) -> _Side:
    layout, table = read_table(path)
    if layout.canonical is None:
        raise EpisodeFileError(path, "holds one peer's own part only, no canonical frames")
    if layout.header.frames == 0:
        raise EpisodeFileError(path, "holds no frame")
    try:
        return _Side(layout.header, _columns(layout, table))
    except (pa.ArrowException, ValueError, LookupError, TypeError) as error:
        raise EpisodeFileError(path, f"not a readable episode: {error}") from error


def _columns(layout: Layout, table: pa.Table) -> dict[str, _Column]:
    assert layout.canonical is not None
    columns = {}
    for name, place in renamed(layout.header.game, layout.canonical.columns).items():
        if place.stored == "null":
            values = np.zeros(place.shape, place.dtype)
        else:
            values = stored_values(table, place).view(np.dtype(place.dtype)).reshape(place.shape)
        columns[name] = _Column(f"{place.dtype} rows of shape {place.shape[1:]}", values)
    for info in layout.canonical.infos:
        name = joined(["infos", layout.header.game.agents[info.agent], info.key], "/")
        columns[name] = _Column(info.type, _info_values(table, info), is_info=True)
    if layout.canonical.info_list is not None:
        values = _listed_infos(table, layout.canonical.info_list)
        columns["infos"] = _Column("packed", values, is_info=True)
    return columns


def _info_values(table: pa.Table, info: StoredInfo) -> pa.Array:
    return table.column(info.column).combine_chunks().cast(info_type(info.type))


def _listed_infos(table: pa.Table, column: str) -> pa.Array:
    """Infos that lie in one list in row 0, as one packed value per row."""
    per_row: dict[int, list[Any]] = {}
    for item in table.column(column).combine_chunks().slice(0, 1).flatten().to_pylist():
        per_row.setdefault(item["row"], []).append([item["agent"], item["key"], item["value"]])
    packed = [pack_value(per_row[row]) if row in per_row else None for row in range(table.num_rows)]
    return pa.array(packed, pa.binary())


# --- comparing --------------------------------------------------------------------------------------------------


def _differing_rows(left: _Column, right: _Column) -> _Mask:
    """One flag for each row that both have."""
    rows = min(len(left.values), len(right.values))
    one, two = left.values[:rows], right.values[:rows]
    if not left.is_info:
        return _differing_bits(one, two)
    if left.kind != right.kind:
        plain = [[None if v is None else pack_value(v) for v in _plain(side, rows)] for side in (left, right)]
        return np.array([a != b for a, b in zip(*plain, strict=True)], dtype=bool)
    there = [side.is_valid().to_numpy(zero_copy_only=False) for side in (one, two)]
    if pa.types.is_floating(one.type):  # Arrow says that NaN differs from NaN and -0.0 does not from 0.0: compare bits
        zero = pa.scalar(0.0).cast(one.type)
        bits = f"u{one.type.bit_width // 8}"
        one, two = (pc.fill_null(side, zero).to_numpy(zero_copy_only=False).view(bits) for side in (one, two))
        unequal = one != two
    else:
        unequal = pc.not_equal(one, two).fill_null(False).to_numpy(zero_copy_only=False)
    return np.asarray((there[0] != there[1]) | (there[0] & there[1] & unequal))


def _differing_bits(one: NDArray[Any], two: NDArray[Any]) -> _Mask:
    if not one.size:
        return np.zeros(len(one), dtype=bool)
    bits = [np.ascontiguousarray(side).view(np.uint8).reshape(len(side), -1) for side in (one, two)]
    if np.array_equal(bits[0], bits[1]):
        return np.zeros(len(one), dtype=bool)
    return np.asarray((bits[0] != bits[1]).any(axis=1))


def _plain(column: _Column, rows: int) -> list[Any]:
    values: list[Any] = column.values[:rows].to_pylist()
    if column.kind == "packed":
        return [None if value is None else unpack_value(value) for value in values]
    return values


def _describe(name: str, left: _Column, right: _Column, row: int) -> Difference:
    if left.is_info:
        texts = []
        for side in (left, right):
            value = side.values[row].as_py()
            texts.append(
                "(no key)" if value is None else short(unpack_value(value) if side.kind == "packed" else value)
            )
        # The infos of row f + 1 are those that frame f led to.
        return Difference(max(row - 1, 0), name, (), texts[0], texts[1])
    one, two = left.values[row], right.values[row]
    if not one.shape:
        return Difference(row, name, (), short(one.item()), short(two.item()))
    bits = [np.ascontiguousarray(side).reshape(-1, 1).view(np.uint8) for side in (one, two)]
    at = int(np.flatnonzero((bits[0] != bits[1]).any(axis=1))[0])
    index = tuple(int(i) for i in np.unravel_index(at, one.shape))
    return Difference(row, name, index, short(one[index].item()), short(two[index].item()))
