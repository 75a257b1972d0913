"""A bot with a memory: an untrained recurrent network (an echo state network, Jaeger 2001) of whole numbers.

It plays no game well. What it does at a frame depends on everything it has seen in the episode, which is what a trained
recurrent policy does too, and it is exact on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policy import PolicySeat
from rollgym.games.spaces.described import children, flattener

Integers = NDArray[np.int64]

_INPUT_RANGE = 64
"""Observed values are spread over ``0..64`` between the bounds of their space."""
_EDGE = 1_000.0
"""Stands for a bound that is infinite, and for values beyond: they are cut off there."""


class EchoPolicy:
    """Plays any game with a Discrete action space. It remembers ``units`` numbers of one byte."""

    def __init__(self, seat: PolicySeat, units: int = 24) -> None:
        space = seat.spec.action_spaces[seat.agent]
        if not isinstance(space, spaces.Discrete):
            raise GameError("policy", "echo", f"a policy for {space}; echo plays Discrete only")
        self._seat = seat
        self._units = checked_integer("echo.units", units, 1, 1024)
        self._first, actions = int(space.start), int(space.n)
        observed = seat.spec.observation_spaces[seat.agent]
        self._flatten = flattener(observed)
        lows, highs = _bounds(observed)
        self._low, self._high = lows, highs
        self._scale = _INPUT_RANGE / np.maximum(highs - lows, 1.0)
        self._from_input = self._weights(0, self._units, lows.size)
        self._from_memory = self._weights(1, self._units, self._units)
        self._to_action = self._weights(2, actions, self._units)
        # Found by trying: it does not come to rest, and what was seen once is felt for long.
        self._input_divisor = max(1, int(16 * np.sqrt(lows.size)))
        self._memory_divisor = max(1, int(3 * np.sqrt(self._units)))
        self._memory: Integers = np.zeros(self._units, np.int64)
        self._episode_seed = 0

    def _weights(self, layer: int, rows: int, columns: int) -> Integers:
        draws = Draws(self._seat.seed, layer, self._seat.agent, -1)
        return np.array([draws.below(17) - 8 for _ in range(rows * columns)], np.int64).reshape(rows, columns)

    def reset(self, seed: int) -> None:
        self._episode_seed = seed
        draws = Draws(self._seat.seed, seed, self._seat.agent, -2)
        self._memory = np.array([draws.below(256) - 128 for _ in range(self._units)], np.int64)

    def act(self, observation: Observation, frame: int) -> int:
        flat = np.concatenate([np.ravel(part) for part in self._flatten(observation)]).astype(np.float64)
        inside = np.clip(np.nan_to_num(flat), self._low, self._high)
        values = np.floor((inside - self._low) * self._scale).astype(np.int64) - _INPUT_RANGE // 2
        seen = self._from_input @ values // self._input_divisor
        echo = self._from_memory @ self._memory // self._memory_divisor
        # A unit that is driven over its limit comes back from the other side: units at their limits would be a rest.
        self._memory = (seen + echo).astype(np.int8).astype(np.int64)
        return self._first + int(np.argmax(self._to_action @ self._memory))

    def memory(self) -> bytes:
        return self._memory.astype(np.int8).tobytes()

    def recall(self, memory: bytes) -> None:
        self._memory = np.frombuffer(memory, np.int8).astype(np.int64)

    def memory_bytes(self, memory: bytes) -> bytes:
        return memory


def _bounds(space: spaces.Space[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest value at every place of the flattened space, infinite ones cut off."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = [_bounds(part) for _, part in children(space)]
        return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])
    if isinstance(space, spaces.Box):
        low, high = space.low, space.high
    elif isinstance(space, spaces.Discrete):
        low, high = np.array([space.start]), np.array([space.start + space.n - 1])
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec - 1
    else:
        assert isinstance(space, spaces.MultiBinary)
        low, high = np.zeros(space.shape), np.ones(space.shape)
    edges = [np.clip(np.ravel(side).astype(np.float64), -_EDGE, _EDGE) for side in (low, high)]
    return edges[0], edges[1]
