"""Spaces from the descriptions in episode files (:func:`rollgym.games.spaces.describe`): no game is needed to read
them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


def space_of(description: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that was described. Raises ``ValueError`` for what is not a description."""
    try:
        return _space_of(description)
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"not the description of a space: {str(description)[:200]}") from error


def _space_of(description: Mapping[str, Any]) -> spaces.Space[Any]:
    kind = description["type"]
    if kind == "Dict":
        return spaces.Dict({key: _space_of(part) for key, part in description["spaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([_space_of(part) for part in description["spaces"]])
    if kind == "Discrete":
        dtype = np.dtype(description["dtype"]).type
        return spaces.Discrete(description["n"], start=description["start"], dtype=dtype)
    shape = tuple(description["shape"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(shape)
    dtype = np.dtype(description["dtype"])
    if kind == "MultiDiscrete":
        nvec, start = (_filled(description[name], shape, dtype) for name in ("nvec", "start"))
        return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)
    if kind == "Box":
        low, high = (_filled(description[name], shape, dtype) for name in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    raise KeyError(kind)


def _filled(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Bounds; those that are the same everywhere were stored once, infinite ones as text."""
    # Not by way of float64: it has no room for the bounds of 64-bit integers.
    array = np.array(_number(values), dtype=dtype)
    return np.full(shape, array, dtype=dtype) if array.shape != shape else array


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if isinstance(value, str) else value


def gather(space: spaces.Space[Any], column: Callable[[str], NDArray[Any]], path: str) -> Any:
    """The columns of a space put together: an array, or for Dict and Tuple a dict or tuple of what their parts give."""
    if isinstance(space, spaces.Dict):
        return {key: gather(part, column, f"{path}/{key}") for key, part in sorted(space.spaces.items())}
    if isinstance(space, spaces.Tuple):
        return tuple(gather(part, column, f"{path}/{index}") for index, part in enumerate(space.spaces))
    return column(path)
