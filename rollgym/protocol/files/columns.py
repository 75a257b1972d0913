"""The columns of an export as columns of an episode file, and back. Lossless."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rollgym.protocol.episode.column import Column
from rollgym.protocol.files.layout import StoredColumn


class TableBuilder:
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


def from_arrow(table: pa.Table, place: StoredColumn) -> Column:
    column = Column(place.dtype, place.shape, b"")
    if place.stored == "null":
        column.array()
        return column
    return Column(place.dtype, place.shape, stored_values(table, place).tobytes())


def stored_array(table: pa.Table, place: StoredColumn) -> NDArray[Any]:
    """A stored column as an array of its own dtype and shape. Raises ``ValueError`` if the values do not fit."""
    if place.stored == "null":
        return Column(place.dtype, place.shape, b"").array()
    return stored_values(table, place).view(np.dtype(place.dtype)).reshape(place.shape)


def stored_values(table: pa.Table, place: StoredColumn) -> NDArray[Any]:
    """The values of a stored column in one flat array of dtype ``place.stored``. ``ValueError`` if they do not fit."""
    for dtype in (place.dtype, place.stored):
        Column(dtype, (0,), b"").array()  # numpy would parse anything; this refuses what is not a plain type
    values = combined(table, place.column)
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


def combined(table: pa.Table, name: str) -> pa.Array:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
