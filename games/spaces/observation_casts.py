"""What environments hand out, made into what a game may hand out: fresh, typed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from rollgym.games.errors import GameError
from rollgym.games.spaces.described import leaves
from rollgym.games.spaces.exact import TO_FLOAT32, exact

Space: TypeAlias = spaces.Space[Any]
Fit: TypeAlias = Callable[[Any], Any]


def fitter(space: Space, name: str, rounded: set[str]) -> Fit:
    """A function that makes an observation a member of its space in structure, shape and type, as a fresh copy.

    No number is changed: one that the space's type does not hold is an error that names it. The one exception is a
    float64 where the space says float32: it is rounded, and its name is put into ``rounded``. Bounds are not checked.
    The function raises :class:`~rollgym.games.errors.GameError` for another structure, shape or number. Raises the same
    for a space that cannot be recorded.
    """
    leaves(space)
    return _fitter(space, name, rounded)


def _fitter(space: Space, name: str, rounded: set[str]) -> Fit:
    if isinstance(space, spaces.Discrete):
        return lambda value: _integer(value, name)
    if isinstance(space, spaces.Dict):
        named = {key: _fitter(part, f"{name}[{key!r}]", rounded) for key, part in space.spaces.items()}

        def fit_dict(value: Any) -> Any:
            if not isinstance(value, Mapping) or value.keys() != named.keys():
                raise GameError(name, _shape_of(value), "a mapping with " + ", ".join(map(repr, named)))
            return {key: fit(value[key]) for key, fit in named.items()}

        return fit_dict
    if isinstance(space, spaces.Tuple):
        parts = [_fitter(part, f"{name}[{index}]", rounded) for index, part in enumerate(space.spaces)]

        def fit_tuple(value: Any) -> Any:
            if not isinstance(value, tuple | list) or len(value) != len(parts):
                raise GameError(name, _shape_of(value), f"a tuple of {len(parts)}")
            return tuple([fit(part) for fit, part in zip(parts, value, strict=True)])

        return fit_tuple
    return _array_fitter(space, name, rounded)


def _array_fitter(space: Space, name: str, rounded: set[str]) -> Fit:
    dtype, shape = np.dtype(space.dtype), tuple(space.shape or ())

    def fit(value: Any) -> Any:
        if type(value) is np.ndarray and value.dtype == dtype and value.shape == shape:
            return value.copy()
        made = exact(name, value, dtype, shape, rounding=TO_FLOAT32)
        if made.rounded:
            rounded.add(name)
        return made.values

    return fit


def _integer(value: Any, name: str) -> int:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, int | np.integer | np.bool_):
        raise GameError(name, _shape_of(value), "an integer")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise GameError(name, number, "a number that int64 holds exactly")
    return number


def _shape_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(repr, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def fresh(value: Any) -> Any:
    """A copy of a fitted observation."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: fresh(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple([fresh(part) for part in value])
    return value


def blank(space: Space) -> Any:
    """A member of nothing but zeros: what an agent sees that was never there."""
    if isinstance(space, spaces.Dict):
        return {key: blank(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(blank(part) for part in space.spaces)
    return int(space.start) if isinstance(space, spaces.Discrete) else np.zeros(space.shape or (), space.dtype)


def idle_action(space: Space) -> Any:
    """The first or the smallest action of a space: 0 where it has one."""
    if isinstance(space, spaces.Dict):
        return {key: idle_action(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(idle_action(part) for part in space.spaces)
    if isinstance(space, spaces.Box):
        return np.asarray(np.minimum(np.maximum(np.zeros(space.shape, space.dtype), space.low), space.high))
    if isinstance(space, spaces.MultiDiscrete):
        return np.array(space.start, space.dtype)
    return blank(space)
