"""What environments give as rewards, made into one float64 per agent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rollgym.games.errors import GameError
from rollgym.games.spaces.exact import exact, exact_float

VECTOR = "reward_vector"
"""The key under which the parts of a reward are recorded that was weighted."""


class Rewards:
    """Reads rewards, one per agent."""

    def __init__(self, agents: Sequence[str], weights: Sequence[float] | None) -> None:
        """With ``weights`` a reward has as many parts, and is their weighted sum."""
        self._names = [f"reward of {agent}" for agent in agents]
        self._weights = None if weights is None else [float(weight) for weight in weights]

    def read(self, given: Sequence[Any], infos: list[Any], unrecorded: set[str]) -> tuple[float, ...]:
        """A float per agent. The parts of vectors are put into the infos.

        Raises :class:`~rollgym.games.errors.GameError` for what is no number, or none that a float64 holds exactly.
        """
        if self._weights is None:
            return tuple([self._number(name, reward) for name, reward in zip(self._names, given, strict=True)])
        sums = []
        for index, (name, reward) in enumerate(zip(self._names, given, strict=True)):
            if np.ndim(reward) == 0 and reward == 0:  # an agent that is not there
                sums.append(0.0)
                continue
            parts = exact(name, reward, np.dtype(np.float64), (len(self._weights),)).values
            sums.append(math.fsum(w * p for w, p in zip(self._weights, parts.tolist(), strict=True)))
            info = infos[index] or {}
            if VECTOR in info:
                unrecorded.add(f"{VECTOR} of the environment (the adapter says so itself)")
            infos[index] = {**info, VECTOR: parts} if isinstance(info, Mapping) else {VECTOR: parts}
        return tuple(sums)

    @staticmethod
    def _number(name: str, reward: Any) -> float:
        if isinstance(reward, list | tuple) or (isinstance(reward, np.ndarray) and reward.size > 1):
            expected = "one number; of a vector, adapter={reward_weights: [...]} makes one"
            raise GameError(name, f"a {type(reward).__name__} of {len(reward)}", expected)
        return exact_float(name, reward)
