"""Bots that the tests name as package.module:callable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rollgym.games.contract import GameSpec

NOT_CALLABLE = 3


def turns(observation: Any) -> int:
    """Changes what it does with what it sees."""
    return int(abs(hash_of(observation))) % 3


def hash_of(observation: Any) -> int:
    parts = observation.values() if isinstance(observation, dict) else [observation]
    return int(sum(float(np.asarray(part, np.float64).sum()) for part in parts) * 8)


def with_option(observation: Any, action: int = 0) -> int:
    return action


def two(first: Any, second: Any) -> int:
    return 0


class Drawing:
    """Draws from a generator that is seeded with the policy's seed and the episode's."""

    def __init__(self, spec: GameSpec, player: int, seed: int, hold: int = 3) -> None:
        self.count = int(spec.action_spaces[spec.seats[player]].n)  # type: ignore[attr-defined]
        self.seed = seed
        self.hold = hold
        self.rng = np.random.default_rng(seed)
        self.action = 0

    def reset(self, seed: int) -> None:
        self.rng = np.random.default_rng((self.seed, seed))

    def act(self, observation: Any, frame: int) -> int:
        if frame % self.hold == 0:
            self.action = int(self.rng.integers(self.count))
        return self.action


def maker(spec: GameSpec, player: int, seed: int) -> Callable[[Any], int]:
    return lambda observation: (player + seed) % 3


def makes_nothing(spec: GameSpec, player: int, seed: int) -> None:
    return None


class Plain:
    """Neither a maker nor a bot."""
