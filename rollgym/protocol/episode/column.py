"""One column of an export: dense numbers as bytes, and what is wrong with an export that breaks the schema."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

MAX_COLUMN_BYTES = 1 << 30
MAX_EMPTY_ROW = 1 << 24
"""Values per row of a column that has no rows: nothing else bounds it, and a file has a place for every one of them."""
_DTYPES = frozenset(
    ["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16"],
)


class ExportError(ValueError):
    """An export that breaks the schema. ``field`` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """A dense array: ``shape[0]`` rows, little-endian, C order."""

    dtype: Annotated[str, Meta(max_length=8)]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1, max_length=8)]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Column:
        """A column with a copy of ``array`` (at least one axis)."""
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        return cls(plain.dtype.str, plain.shape, plain.tobytes())

    def array(self) -> NDArray[Any]:
        """The values, read-only. Raises :class:`ExportError` if dtype, shape and size do not agree."""
        if self.dtype not in _DTYPES:
            raise ExportError("dtype", f"{self.dtype!r} is not a plain number type")
        dtype = np.dtype(self.dtype)
        size = math.prod(self.shape) * dtype.itemsize
        if size > MAX_COLUMN_BYTES or size != len(self.data):
            raise ExportError("data", f"{len(self.data)} bytes for shape {self.shape} of {self.dtype}")
        if not self.shape[0] and math.prod(self.shape[1:]) > MAX_EMPTY_ROW:
            raise ExportError("shape", f"{self.shape}: expected at most {MAX_EMPTY_ROW} values in a row")
        try:
            return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)
        except (ValueError, OverflowError) as error:  # no values, but sides beyond what any array can have
            raise ExportError("shape", f"{self.shape}: {error}") from error
