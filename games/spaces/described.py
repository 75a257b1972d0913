"""Gymnasium spaces as descriptions that two machines can compare, and as flat rows of fixed shape for a table.

Supported are Box, Discrete, MultiBinary, MultiDiscrete, and Dict and Tuple of these. Dict keys must be strings;
they are taken in sorted order everywhere, so that a description says all there is to know about the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.errors import GameError
from rollgym.games.spaces.exact import SUPPORTED, exact, is_supported
from rollgym.protocol.column_names import is_writable, joined, split

Space: TypeAlias = spaces.Space[Any]
FlatValue: TypeAlias = NDArray[Any] | int


class Leaf(NamedTuple):
    """One part of a space that has a shape of its own: one column of a table."""

    path: str
    """Keys and indices from the top, joined by ``/``: ``position``, ``a/0``; empty if the space itself is a leaf.
    Keys that hold ``/`` or ``%`` are written as in :mod:`rollgym.protocol.column_names`."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The path's keys and indices as they are."""
        return tuple(split(self.path, "/")) if self.path else ()


def describe(space: Space) -> dict[str, Any]:
    """The space in JSON values. Equal descriptions mean the same members in the same layout.

    Bounds that are the same everywhere are given once; infinite ones as ``"inf"`` and ``"-inf"``.
    Raises :class:`~rollgym.games.errors.GameError` for a space that is not supported.
    """
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: describe(part) for key, part in children(space)}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [describe(part) for _, part in children(space)]}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Box):
        bounds = {"low": _uniform(space.low), "high": _uniform(space.high)}
    elif isinstance(space, spaces.MultiDiscrete):
        bounds = {"nvec": _uniform(space.nvec), "start": _uniform(space.start)}
    elif isinstance(space, spaces.MultiBinary):
        bounds = {}
    else:
        raise _unsupported("", space)
    return {"type": type(space).__name__, "shape": list(_leaf("", space).shape), "dtype": str(space.dtype), **bounds}


def children(space: spaces.Dict[Any] | spaces.Tuple[Any]) -> list[tuple[str, Space]]:
    """The parts of a space in their fixed order, each with its key or index as text."""
    if isinstance(space, spaces.Tuple):
        return [(str(index), part) for index, part in enumerate(space.spaces)]
    key: Any  # gymnasium says that it is text, and does not look
    for key in space.spaces:
        if not isinstance(key, str) or not is_writable(key):
            raise GameError("space key", key, "a string that has UTF-8 bytes")
    return sorted(space.spaces.items())


def leaves(space: Space) -> tuple[Leaf, ...]:
    """The parts of fixed shape, in the order in which :func:`flattener` gives their values.

    Discrete counts as an int64 scalar. Raises :class:`~rollgym.games.errors.GameError` for a space that is not
    supported.
    """
    return tuple(_walk("", space))


def flattener(space: Space) -> Callable[[Any], tuple[FlatValue, ...]]:
    """A function that takes a member of the space apart into the values of its :func:`leaves`.

    Arrays are passed on as they are, not copied, if they have the leaf's dtype; others are converted if their type fits
    into it, and plain numbers if that changes none of them. The function raises
    :class:`~rollgym.games.errors.GameError`, which names the path, for a value of another structure, shape or type.
    Bounds are not checked: what was observed is what is recorded.
    """
    leaves(space)
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        read = _reader("", space)
        return lambda value: (read(value),)
    take = _taker("", space)

    def flatten(value: Any) -> tuple[FlatValue, ...]:
        out: list[FlatValue] = []
        take(value, out)
        return tuple(out)

    return flatten


def flatten(space: Space, value: Any) -> tuple[FlatValue, ...]:
    """:func:`flattener` for a single use."""
    return flattener(space)(value)


def _walk(path: str, space: Space) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for key, part in children(space):
            yield from _walk(_join(path, key), part)
    else:
        yield _leaf(path, space)


def _join(path: str, key: str) -> str:
    part = joined([key], "/")
    return f"{path}/{part}" if path else part


def _leaf(path: str, space: Space) -> Leaf:
    if isinstance(space, spaces.Discrete):
        return Leaf(path, np.dtype(np.int64), ())
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        dtype = np.dtype(space.dtype)
        if not is_supported(dtype):
            raise GameError(f"space at {path!r}" if path else "space", space, f"one of {SUPPORTED}")
        return Leaf(path, dtype, tuple(int(n) for n in space.shape))
    raise _unsupported(path, space)


def _unsupported(path: str, space: Space) -> GameError:
    what = f"space at {path!r}" if path else "space"
    return GameError(what, space, "Box, Discrete, MultiBinary, MultiDiscrete, or Dict or Tuple of these; not supported")


def _uniform(values: NDArray[Any]) -> Any:
    if values.size and (values == values.flat[0]).all():
        return _json(values.flat[0].item())
    return _json(values.tolist())


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(v) for v in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


Taker: TypeAlias = Callable[[Any, list[FlatValue]], None]


def _taker(path: str, space: spaces.Dict[Any] | spaces.Tuple[Any]) -> Taker:
    """Appends the leaves of a value. One closure per nest and one per leaf: this runs for every recorded frame."""
    parts = children(space)
    keys: Sequence[Any] = [key for key, _ in parts] if isinstance(space, spaces.Dict) else range(len(parts))
    kinds: Any = (dict,) if isinstance(space, spaces.Dict) else (tuple, list)
    count = len(parts)
    wanted = f"keys {', '.join(map(str, keys))}" if kinds == (dict,) else f"a tuple of {count}"
    plan: list[tuple[Any, Taker | None, Callable[[Any], FlatValue] | None]] = []
    for key, (name, part) in zip(keys, parts, strict=True):
        if isinstance(part, spaces.Dict | spaces.Tuple):
            plan.append((key, _taker(_join(path, name), part), None))
        else:
            plan.append((key, None, _reader(_join(path, name), part)))

    def take(value: Any, out: list[FlatValue]) -> None:
        if not isinstance(value, kinds) or len(value) != count:
            raise GameError(_named(path), _shown(value), wanted)
        for key, deeper, read in plan:
            try:
                part = value[key]
            except KeyError:
                raise GameError(_named(path), _shown(value), wanted) from None
            if read is not None:
                out.append(read(part))
            elif deeper is not None:
                deeper(part, out)

    return take


def _reader(path: str, space: Space) -> Callable[[Any], FlatValue]:
    _, dtype, shape = _leaf(path, space)
    if isinstance(space, spaces.Discrete):

        def read_integer(value: Any) -> int:
            if type(value) is int:
                number = value
            elif isinstance(value, np.integer) or (
                isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu"
            ):
                number = int(value)
            else:
                raise GameError(_named(path), _shown(value), "an integer")
            if not -(2**63) <= number < 2**63:
                raise GameError(_named(path), value, "an integer of at most 64 bits")
            return number

        return read_integer

    # Gymnasium takes zeros and ones of any type for a member of MultiBinary.
    any_type = isinstance(space, spaces.MultiBinary)

    def read_array(value: Any) -> NDArray[Any]:
        if isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape:
            return value
        return _converted(path, value, dtype, shape, any_type)

    return read_array


def _converted(path: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...], any_type: bool) -> NDArray[Any]:
    expected = f"shape {shape} of {dtype}"
    if not isinstance(value, np.ndarray | np.generic | list | tuple | int | float):
        raise GameError(_named(path), _shown(value), expected)
    try:
        given = np.asarray(value)
    except ValueError:
        raise GameError(_named(path), _shown(value), expected) from None
    if given.shape != shape or given.dtype.kind not in "biuf":
        raise GameError(_named(path), _shown(value), expected)
    typed = isinstance(value, np.ndarray | np.generic) and not any_type
    if typed and not np.can_cast(given.dtype, dtype, "safe"):
        raise GameError(_named(path), _shown(value), f"{expected}, or a type that fits into it")
    try:
        return exact(_named(path), value, dtype, shape).values
    except GameError as error:
        raise GameError(error.field, error.value, f"{expected}, without rounding") from error


def _named(path: str) -> str:
    return f"value at {path!r}" if path else "value"


def _shown(value: Any) -> Any:
    """A short stand-in for a value in an error text."""
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, dict):
        return f"dict with {', '.join(map(str, value))}" if value else "empty dict"
    return value
