"""Do two columns hold the same values: as their types say, and as text where neither side has any.

A column is *known* if the dataset's own tools wrote it: then its type is what the environment gave. Other programs turn
integers with gaps into floats; numbers of theirs are compared as numbers. What is text only, a CSV file without its
JSON file, is read as the type of the other side. Of two texts every character counts.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Cells(NamedTuple):
    """A column and what is known of it."""

    values: pa.Array
    form: str = "known"
    """``known``: the values have their type. ``json``: texts that are JSON. ``numbers``: typed by somebody else.
    ``text``: nothing is known."""

    def taken(self, rows: NDArray[np.int64]) -> Cells:
        """Some rows of it."""
        if np.array_equal(rows, np.arange(len(self.values))):
            return self
        return self._replace(values=self.values.take(pa.array(rows)))


def differing(left: Cells, right: Cells) -> Mask:
    """One flag per row, for columns of equal length."""
    forms = (left.form, right.form)
    if "text" in forms and forms != ("text", "text"):
        text, other = (left, right) if left.form == "text" else (right, left)
        if other.form != "json":
            read = read_cells(text.values, other.values.type)
            unread = pc.and_(read.is_null(), text.values.is_valid()).to_numpy(zero_copy_only=False)
            return np.asarray(_unequal(read, other.values) | unread)
    elif left.form == right.form or "json" not in forms:
        if left.values.type == right.values.type and left.form != "json":
            return _unequal(left.values, right.values)
        if forms == ("known", "known"):
            return _either(left.values, right.values)
        if all(pa.types.is_floating(side.values.type) for side in (left, right)):
            # 0.1 in a float32 was written as 0.1, and is another number as the float64 that pandas reads.
            known, foreign = (left, right) if left.form == "known" else (right, left)
            return _unequal(known.values, foreign.values.cast(known.values.type, safe=False))
    return _by_value(left, right)


def _unequal(left: pa.Array, right: pa.Array) -> Mask:
    there = [side.is_valid().to_numpy(zero_copy_only=False) for side in (left, right)]
    if pa.types.is_floating(left.type):
        # Arrow says that NaN differs from NaN and -0.0 does not from 0.0: compare bits.
        bits = np.dtype(f"u{left.type.bit_width // 8}")
        zero = pa.scalar(0.0, pa.float64()).cast(left.type)
        one, two = (pc.fill_null(side, zero).to_numpy(zero_copy_only=False) for side in (left, right))
        nan = np.isnan(one) & np.isnan(two)
        different = (one.view(bits) != two.view(bits)) & ~nan
    else:
        different = pc.fill_null(pc.not_equal(left, right), False).to_numpy(zero_copy_only=False)
    return np.asarray((there[0] != there[1]) | (there[0] & there[1] & different), dtype=bool)


def _either(left: pa.Array, right: pa.Array) -> Mask:
    """Of two types: every row in which one side has a value."""
    return np.asarray(left.is_valid().to_numpy(zero_copy_only=False) | right.is_valid().to_numpy(zero_copy_only=False))


def read_cells(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as another type; null where a cell is not one of that type."""
    if pa.types.is_string(kind):
        return text
    if pa.types.is_integer(kind) or kind in (pa.float32(), pa.float64()):
        try:
            return text.cast(kind)  # the usual case: all cells are plain numbers
        except pa.ArrowException:
            pass  # one is not, or is spelled in another way
    encoded = text.dictionary_encode()
    read = [read_cell(cell, kind) for cell in encoded.dictionary.to_pylist()]
    if pa.types.is_floating(kind):
        values = np.array([0.0 if value is None else value for value in read], kind.to_pandas_dtype())
        array = pa.array(values, kind, mask=np.array([value is None for value in read], bool))
    else:
        array = pa.array(read, kind)
    return array.take(encoded.indices)


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_NO_NUMBER = {"nan": math.nan, "inf": math.inf, "+inf": math.inf, "-inf": -math.inf, "infinity": math.inf}
_NO_NUMBER |= {"-infinity": -math.inf}


def read_cell(cell: str, kind: pa.DataType) -> Any:
    """A cell of text as a value of this type, or None: ``True`` is true, ``3.0`` is 3, ``3`` is 3.0."""
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}.get(cell.lower())
    if pa.types.is_floating(kind):
        if _NUMBER.fullmatch(cell) is None:
            return _NO_NUMBER.get(cell.lower())
        return kind.to_pandas_dtype()(cell)
    if pa.types.is_integer(kind):
        whole = _whole(cell)
        limits = np.iinfo(kind.to_pandas_dtype())
        return whole if whole is not None and limits.min <= whole <= limits.max else None
    return None


def _whole(cell: str) -> int | None:
    if _NUMBER.fullmatch(cell) is None:
        return None
    try:
        number = Decimal(cell)
    except InvalidOperation:
        return None
    if abs(number) >= 1 << 65 or number != number.to_integral_value() or (not number and number.is_signed()):
        return None
    return int(number)


def _by_value(left: Cells, right: Cells) -> Mask:
    """Row by row as Python values."""
    exact = "text" not in (left.form, right.form) and "numbers" not in (left.form, right.form)
    values = [_plain(side) for side in (left, right)]
    pairs = zip(*values, strict=True)
    return np.array([not same_value(one, two, exact=exact) for one, two in pairs], dtype=bool)


class _Text(str):
    """A cell that is no JSON: it equals nothing but the same cell."""

    __slots__ = ()


def _plain(side: Cells) -> list[Any]:
    """Each value in a list of its own: JSON's null is a value, a cell without one is None."""
    values: list[Any] = side.values.to_pylist()
    if side.form not in ("json", "text"):
        return [None if value is None else [value] for value in values]
    known: dict[str | None, Any] = {None: None}
    for value in values:
        if value not in known:
            try:
                known[value] = [json.loads(value)]
            except ValueError:
                known[value] = [_Text(value)]
    return [known[value] for value in values]


def same_value(one: Any, two: Any, *, exact: bool = True) -> bool:
    """Equal with their types, deeply: 1 is not 1.0 (unless not ``exact``), -0.0 not 0.0, NaN is NaN."""
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(same_value(a, b, exact=exact) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same_value(one[key], two[key], exact=exact) for key in one)
    if type(one) is float and type(two) is float:
        if math.isnan(one) or math.isnan(two):
            return math.isnan(one) and math.isnan(two)
        return one == two and math.copysign(1, one) == math.copysign(1, two)
    if not exact and {type(one), type(two)} == {int, float}:
        number = one if type(one) is float else two
        return bool(one == two) and math.copysign(1, number) == (-1 if number < 0 else 1)
    return type(one) is type(two) and bool(one == two)
