"""Numbers into the type that a space declares, without changing any of them.

Numpy's own conversions wrap (-1 becomes 255), cut off (0.5 becomes 0) and round (``2**53 + 1``) without a word.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollgym.games.errors import GameError

_FLOAT64 = np.dtype(np.float64)
TO_FLOAT32 = (np.dtype(np.float32),)
TO_ANY_FLOAT = (np.dtype(np.float32), np.dtype(np.float16))
SUPPORTED = "bool, integers of 8 to 64 bits, float16, float32, float64"


class Converted(NamedTuple):
    """What became of some numbers."""

    values: NDArray[Any]
    """A new array of the wanted type and shape."""
    rounded: bool
    """A float64 lost digits in a smaller type."""


def is_supported(dtype: np.dtype[Any]) -> bool:
    """Whether a type of numbers is the same on every machine."""
    return dtype.kind in "biuf" and dtype.itemsize <= 8


def is_masked_array(value: Any) -> bool:
    """Whether a value is a masked array of numpy.

    ``np.ma`` is imported when it is first named, which takes longer than a frame. Whoever has a masked array has
    imported it.
    """
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(value, masked.MaskedArray)


def exact(
    name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...], *, rounding: Sequence[np.dtype[Any]] = ()
) -> Converted:
    """Numbers, in an array or in nested lists, as a fresh array of ``dtype``.

    Every number is what it was before; to the types in ``rounding`` a float64 may also be rounded, but not to
    infinity. Raises :class:`~rollgym.games.errors.GameError` that names the first number which is not, with its index
    behind ``name``, and for what is of another shape or no number at all.
    """
    given = _array(name, value, dtype, shape)
    if given.shape != shape:
        raise GameError(name, f"{_kind(given)}{list(given.shape)}", f"{dtype}{list(shape)}")
    if given.dtype.kind == "O":
        return _each(name, given, dtype, rounding)
    if given.dtype == dtype or (np.can_cast(given.dtype, dtype, "safe") and not _may_round(given.dtype, dtype)):
        return Converted(np.array(given, dtype), False)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        made = np.array(given, dtype)
        wrong, rounded = _changed(given, made, rounding)
    if wrong.any():
        at = tuple(int(n) for n in np.argwhere(wrong)[0]) if shape else ()
        raise _inexact(name, at, given[at], dtype)
    return Converted(made, rounded)


def exact_float(name: str, value: Any) -> float:
    """One number as a Python float. Arrays of one element count as their element."""
    if type(value) is float:
        return value
    return float(_one(name, value, _FLOAT64, "a number"))


def exact_flag(name: str, value: Any) -> bool:
    """Yes or no: a bool, or a number that is 0 or 1. Arrays of one element count as their element."""
    if type(value) is bool:
        return value
    return bool(_one(name, value, np.dtype(np.bool_), "true or false"))


def _one(name: str, value: Any, dtype: np.dtype[Any], expected: str) -> Any:
    try:
        given = np.asarray(value) if not isinstance(value, list | tuple | str | bytes) else None
    except (TypeError, ValueError):
        given = None
    if given is None or given.size != 1 or given.dtype.kind not in "biufO" or is_masked_array(value):
        raise GameError(name, value, expected)
    if given.dtype.kind == "O" and not isinstance(given.item(), int | float | np.number):
        raise GameError(name, value, expected)
    return exact(name, given.reshape(()), dtype, ()).values.item()


def _array(name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The numbers as an array of their own type, or of objects where numpy would have to choose a type for them."""
    wanted = f"{dtype}{list(shape)}"
    if is_masked_array(value) and np.ma.is_masked(value):
        raise GameError(name, "an array with masked values", wanted)
    if not isinstance(value, np.ndarray | np.generic | list | tuple | int | float) and not hasattr(value, "__array__"):
        raise GameError(name, f"a {type(value).__name__}", wanted)
    try:
        given = np.asarray(value)
        if isinstance(value, list | tuple | int | float) and given.dtype.kind not in "biu":
            given = np.array(value, dtype=object)
    except (ValueError, OverflowError):
        raise GameError(name, f"a {type(value).__name__} of unequal parts", wanted) from None
    if given.dtype.kind not in "biufO":
        raise GameError(name, f"{given.dtype}{list(given.shape)}", wanted)
    return given


def _each(name: str, given: NDArray[Any], dtype: np.dtype[Any], rounding: Sequence[np.dtype[Any]]) -> Converted:
    """Python's numbers, one by one: a list may mix integers and fractions, and its integers have any size."""
    made = np.empty(given.shape, dtype)
    rounded = False
    for at in np.ndindex(given.shape):
        number: Any = given[at]
        if isinstance(number, np.ndarray) and number.shape == ():
            number = number[()]
        if not isinstance(number, int | float | np.bool_ | np.integer | np.floating):
            raise GameError(name + _index(at), f"a {type(number).__name__}", f"a number, for {dtype}")
        if isinstance(number, int):
            try:
                with np.errstate(over="ignore"):
                    made[at] = number
                same = not np.isinf(made[at]) and int(made[at]) == number
            except OverflowError:
                same = False
            if not same:
                raise _inexact(name, at, number, dtype)
        else:
            one = exact(name + _index(at), np.asarray(number), dtype, (), rounding=rounding)
            made[at] = one.values
            rounded = rounded or one.rounded
    return Converted(made, rounded)


def _may_round(given: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Numpy calls int64 to float64 safe."""
    return given.kind in "iu" and dtype.kind == "f" and 8 * given.itemsize > np.finfo(dtype).nmant + 1


def _changed(
    given: NDArray[Any], made: NDArray[Any], rounding: Sequence[np.dtype[Any]]
) -> tuple[NDArray[np.bool_], bool]:
    """Where a number is another one now, and whether any was rounded that may be."""
    source, target = given.dtype.kind, made.dtype.kind
    none = np.zeros(given.shape, np.bool_)
    if target == "b":
        return (given != 0) & (given != 1), False
    if source == "b":
        return none, False
    if target in "iu":
        if source == "f":
            given = given.astype(np.float64) if given.dtype.itemsize < 8 else given
            low, high = float(np.iinfo(made.dtype).min), float(int(np.iinfo(made.dtype).max) + 1)
            return ~((given == np.floor(given)) & (given >= low) & (given < high)), False
        low_, high_ = int(np.iinfo(made.dtype).min), int(np.iinfo(made.dtype).max)
        return (given < low_) | (given > high_), False
    if source in "iu":
        wrong = none
        most = 2 ** (np.finfo(made.dtype).nmant + 1)
        for at in np.argwhere((given > most) | (given < -most)):
            here = tuple(at)
            wrong[here] = np.isinf(made[here]) or int(made[here]) != int(given[here])
        return wrong, False
    lost = ~((made.astype(given.dtype) == given) | (np.isnan(made) & np.isnan(given)))
    if made.dtype in rounding and given.dtype == _FLOAT64:
        overflow = np.isinf(made) & ~np.isinf(given)
        return overflow, bool((lost & ~overflow).any())
    return lost, False


def _inexact(name: str, at: tuple[int, ...], number: Any, dtype: np.dtype[Any]) -> GameError:
    shown = number.item() if isinstance(number, np.generic) and not isinstance(number, np.longdouble) else number
    return GameError(name + _index(at), shown, f"a number that {dtype} holds exactly")


def _index(at: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, at))}]" if at else ""


def _kind(given: NDArray[Any]) -> str:
    return "numbers" if given.dtype.kind == "O" else str(given.dtype)
