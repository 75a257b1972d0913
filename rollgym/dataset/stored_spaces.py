"""Spaces from the descriptions in episode files: no game is needed to read them.

They were written by :func:`rollgym.games.spaces.described.describe`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.spaces.described import children, leaves
from rollgym.protocol.column_names import joined
from rollgym.protocol.messages import GameIdentity

T = TypeVar("T")


_LARGE = 1 << 16
"""Bytes of a description beyond which its space is not kept."""


def space_of(description: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that was described; the same object for equal descriptions. Raises ``ValueError`` for what is none."""
    try:
        key = msgspec.msgpack.encode(description)
    except (msgspec.MsgspecError, OverflowError, TypeError):
        return _made(description)  # integers beyond 64 bits, say
    return _made(description) if len(key) > _LARGE else _kept(key)


@lru_cache(maxsize=256)  # making one costs more than to read its column, and the files of a folder have few
def _kept(key: bytes) -> spaces.Space[Any]:
    return _made(msgspec.msgpack.decode(key))


def _made(description: Mapping[str, Any]) -> spaces.Space[Any]:
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


def observed_columns(
    space: spaces.Space[Any], agent: str, columns: Collection[str], prefix: str = "observations"
) -> dict[str, str]:
    """Which of a file's columns has which leaf of an agent's observations, by the leaf's path.

    Raises ``KeyError`` for one that is not there.
    """
    found = {}
    for leaf in leaves(space):
        name = joined([prefix, agent, *leaf.keys], "/")
        if name not in columns:
            # Files from before names were escaped.
            name = "/".join((prefix, agent, *filter(None, leaf.keys)))
        if name not in columns:
            raise KeyError(f"no column {joined([prefix, agent, *leaf.keys], '/')}")
        found[leaf.path] = name
    return found


def renamed(game: GameIdentity, columns: Mapping[str, T]) -> dict[str, T]:
    """The columns of an episode under the names that they get today; those that fit no space keep theirs."""
    now: dict[str, str] = {}
    for agent, description in zip(game.agents, game.observation_spaces, strict=True):
        top = joined(["observations", agent], "/")
        try:
            found = observed_columns(space_of(description), agent, columns)
        except (KeyError, ValueError):
            continue
        now |= {name: f"{top}/{path}" if path else top for path, name in found.items()}
    return {now.get(name, name): column for name, column in columns.items()}


def gather(space: spaces.Space[Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The arrays of a space's leaves, by their paths, put together: an array, or for Dict and Tuple a dict or tuple of
    what their parts give."""
    return _gather(space, iter([arrays[leaf.path] for leaf in leaves(space)]))


def _gather(space: spaces.Space[Any], arrays: Iterator[NDArray[Any]]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _gather(part, arrays) for key, part in children(space)}
    if isinstance(space, spaces.Tuple):
        return tuple([_gather(part, arrays) for _, part in children(space)])
    return next(arrays)
