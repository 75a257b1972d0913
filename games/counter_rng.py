"""What bots draw from: randomness that is a function of who, in which episode, and when."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import xxhash
from gymnasium import spaces

from rollgym.games.errors import GameError
from rollgym.games.spaces.described import children


class Draws:
    """Random 64-bit integers of one (seed, episode seed, agent, moment)."""

    __slots__ = ("_index", "_key")

    def __init__(self, seat_seed: int, episode_seed: int, agent: int, moment: int) -> None:
        self._key = struct.pack("<4q", seat_seed, episode_seed, agent, moment)
        self._index = 0

    def below(self, n: int) -> int:
        """``0..n-1``. The bias is below ``n / 2**64``."""
        self._index += 1
        return xxhash.xxh3_64_intdigest(self._key, self._index) % n

    def unit(self) -> float:
        """``0 <= u < 1`` with 53 random bits."""
        return self.below(1 << 53) / (1 << 53)


def sampler(space: spaces.Space[Any]) -> Callable[[Draws], Any]:
    """A function that draws a member of an action space. Raises :class:`~rollgym.games.errors.GameError` if it cannot.

    An unbounded side of a Box counts as one from the other side, or as -1 and 1.
    """
    if isinstance(space, spaces.Discrete):
        n, start = int(space.n), int(space.start)
        return lambda draws: start + draws.below(n)
    if isinstance(space, spaces.MultiBinary):
        return lambda draws: _array(space, lambda _: draws.below(2))
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        return lambda draws: _array(space, lambda i: starts[i] + draws.below(counts[i]))
    if isinstance(space, spaces.Box):
        lows, highs = _finite_bounds(space)
        if np.dtype(space.dtype).kind == "f":
            return lambda draws: _array(space, lambda i: _between(lows[i], highs[i], draws.unit()))
        return lambda draws: _array(space, lambda i: lows[i] + draws.below(highs[i] - lows[i] + 1))
    if isinstance(space, spaces.Dict):
        named = {key: sampler(part) for key, part in children(space)}
        return lambda draws: {key: draw(draws) for key, draw in named.items()}
    if isinstance(space, spaces.Tuple):
        parts = [sampler(part) for part in space.spaces]
        return lambda draws: tuple(draw(draws) for draw in parts)
    raise GameError("action space", space, "a space that a random policy can draw from")


def _between(low: float, high: float, share: float) -> float:
    """From ``low`` at 0 to ``high`` at 1. The distance of the two may be more than a float can say."""
    span = high - low
    return low + share * span if math.isfinite(span) else low * (1.0 - share) + high * share


def _array(space: spaces.Space[Any], value: Callable[[int], Any]) -> Any:
    shape = space.shape or ()
    flat = [value(i) for i in range(int(np.prod(shape, dtype=np.int64)))]
    if not isinstance(space, spaces.Box):
        return np.array(flat, dtype=space.dtype).reshape(shape)
    with np.errstate(over="ignore"):
        array = np.array(flat, dtype=space.dtype).reshape(shape)
    # What is rounded to the space's type may lie just beyond the bound.
    return np.asarray(np.minimum(np.maximum(array, space.low), space.high))


def _finite_bounds(space: spaces.Box) -> tuple[list[Any], list[Any]]:
    lows, highs = space.low.ravel().tolist(), space.high.ravel().tolist()
    for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if np.isinf(low):
            lows[i] = -1.0 if np.isinf(high) else high - 1.0
        if np.isinf(high):
            highs[i] = max(1.0, lows[i] + 1.0) if np.isinf(low) else low + 1.0
    return lows, highs
