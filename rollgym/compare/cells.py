"""Do two columns hold the same values: exactly, or as numbers and texts whatever form they are in."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def differing(left: pa.Array, right: pa.Array, *, exact: bool) -> Mask:
    """One flag per row, for columns of equal length. ``exact``: of one type, bit for bit."""
    if left.type == right.type:
        unequal = _unequal(left, right)
        # Texts of two forms: one may be JSON that spells the same value otherwise.
        return unequal if exact or not pa.types.is_string(left.type) else _recheck(left, right, unequal)
    if exact:
        raise TypeError(f"columns of {left.type} and {right.type}")
    for text, typed in ((left, right), (right, left)):
        if pa.types.is_string(text.type):
            read = _read(text, typed.type)
            if read is not None:
                return _unequal(read, typed)
    return _recheck(left, right, np.ones(len(left), dtype=bool))


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


def _read(text: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """A column of text as another type, if every cell can be read as that."""
    try:
        if pa.types.is_boolean(kind):
            plain = pc.utf8_lower(text)
            known = pc.fill_null(pc.is_in(plain, pa.array(["true", "false"])), True)
            return pc.equal(plain, "true") if pc.all(known).as_py() else None
        return text.cast(kind)
    except pa.ArrowException:
        return None


def _recheck(left: pa.Array, right: pa.Array, suspects: Mask) -> Mask:
    """The suspects among the rows, as Python values: exact between integers and floats, at whatever size."""
    rows = np.flatnonzero(suspects)
    pick = pa.array(rows)
    pairs = zip(left.take(pick).to_pylist(), right.take(pick).to_pylist(), strict=True)
    result = np.zeros(len(left), dtype=bool)
    result[rows] = [not same_value(one, two) for one, two in pairs]
    return result


def same_value(one: Any, two: Any) -> bool:
    """Equal as values: 1 and 1.0 are, ``"1"`` and 1 (a cell of text) are, true and 1 are not, NaN and NaN are."""
    one, two = _plain(one), _plain(two)
    if isinstance(one, bool) != isinstance(two, bool):
        return False
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(same_value(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same_value(one[key], two[key]) for key in one)
    if isinstance(one, float) and isinstance(two, float) and math.isnan(one) and math.isnan(two):
        return True
    return bool(one == two)


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return float(value) if value.lower() in ("inf", "-inf", "nan") else json.loads(value)
    except ValueError:
        return value
