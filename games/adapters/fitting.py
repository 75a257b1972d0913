"""What environments hand out, made into what a game may hand out: fresh, typed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from rollgym.games.errors import GameError
from rollgym.games.info import NO_INFO
from rollgym.games.spaces import leaves

Space: TypeAlias = spaces.Space[Any]
Fit: TypeAlias = Callable[[Any], Any]


def fitter(space: Space, name: str) -> Fit:
    """A function that makes an observation a member of its space in structure, shape and type, as a fresh copy.

    Values of another type are converted as numpy does (a float64 where the space says float32 is rounded). Bounds are
    not checked. The function raises :class:`~rollgym.games.errors.GameError` for another structure or shape, and for
    fractions
    where the space has integers. Raises the same for a space that can not be recorded.
    """
    leaves(space)
    return _fitter(space, name)


def _fitter(space: Space, name: str) -> Fit:
    if isinstance(space, spaces.Discrete):
        return lambda value: _integer(value, name)
    if isinstance(space, spaces.Dict):
        named = {key: _fitter(part, f"{name}[{key!r}]") for key, part in space.spaces.items()}

        def fit_dict(value: Any) -> Any:
            if not isinstance(value, Mapping) or value.keys() != named.keys():
                raise GameError(name, _shape_of(value), "a mapping with " + ", ".join(map(repr, named)))
            return {key: fit(value[key]) for key, fit in named.items()}

        return fit_dict
    if isinstance(space, spaces.Tuple):
        parts = [_fitter(part, f"{name}[{index}]") for index, part in enumerate(space.spaces)]

        def fit_tuple(value: Any) -> Any:
            if not isinstance(value, tuple | list) or len(value) != len(parts):
                raise GameError(name, _shape_of(value), f"a tuple of {len(parts)}")
            return tuple([fit(part) for fit, part in zip(parts, value, strict=True)])

        return fit_tuple
    return _array_fitter(space, name)


def _array_fitter(space: Space, name: str) -> Fit:
    dtype, shape = np.dtype(space.dtype), tuple(space.shape or ())
    whole = dtype.kind in "iub"

    def fit(value: Any) -> Any:
        given = np.asarray(value)
        if given.shape != shape or given.dtype.kind not in "biuf":
            raise GameError(name, f"{given.dtype}{list(given.shape)}", f"{dtype}{list(shape)}")
        made = np.array(given, dtype)
        if whole and given.dtype.kind == "f" and not np.array_equal(made, given):
            raise GameError(name, "an array with fractions", f"{dtype}{list(shape)}, as its space says")
        return made

    return fit


def _integer(value: Any, name: str) -> int:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, int | np.integer):
        return int(value)
    raise GameError(name, _shape_of(value), "an integer")


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
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    if isinstance(space, spaces.MultiDiscrete):
        return np.array(space.start, space.dtype)
    return blank(space)


def plain_info(info: Any, dropped: set[str]) -> Mapping[str, Any]:
    """An info of plain data only, sharing nothing with the environment.

    Keys that are not strings and values that have no byte form (objects) are left out, and named in ``dropped``.
    """
    if not info or not isinstance(info, Mapping):
        return NO_INFO
    kept = {}
    for key, value in info.items():
        try:
            if not isinstance(key, str):
                raise _NotPlain
            kept[key] = _plain(value)
        except _NotPlain:
            dropped.add(f"{key} ({type(value).__name__})")
    return kept or NO_INFO


class _NotPlain(Exception):
    """A value that has no byte form."""


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | float | str | bytes | np.generic):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _NotPlain
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.copy()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    raise _NotPlain
