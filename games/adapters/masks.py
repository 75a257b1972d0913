"""What is allowed, moved from the infos into the observations: policies see those, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.adapters.family import ABSENT, Space
from rollgym.games.errors import GameError
from rollgym.games.spaces.exact import exact

MASK = "action_mask"
OBSERVATION = "observation"


class Masks:
    """Observations in which ``action_mask`` of the agent's info stands beside ``observation``, the environment's own.

    An agent whose info has no mask, as when it is not its turn, sees zeros.
    """

    def __init__(self, action_spaces: Sequence[Space], observation_spaces: Sequence[Space], waiting: bool) -> None:
        """``waiting``: the last action of every space is the adapter's own.

        Raises :class:`~rollgym.games.errors.GameError` unless the actions are Discrete, and if a mask is there already.
        """
        self._sizes = []
        for action, seen in zip(action_spaces, observation_spaces, strict=True):
            if not isinstance(action, spaces.Discrete):
                raise GameError("adapter.action_mask", str(action), "Discrete actions")
            if isinstance(seen, spaces.Dict) and MASK in seen.spaces:
                raise GameError("adapter.action_mask", True, "observations that have no action_mask of their own")
            self._sizes.append(int(action.n) - waiting)
        self.spaces: tuple[Space, ...] = tuple(
            spaces.Dict({MASK: spaces.MultiBinary(size), OBSERVATION: seen})
            for size, seen in zip(self._sizes, observation_spaces, strict=True)
        )

    def seen(self, observations: Sequence[Any], infos: Sequence[Any]) -> list[Any]:
        """The observations with the masks. Who is absent stays absent."""
        return [
            ABSENT if seen is ABSENT else {MASK: self._mask(index, info), OBSERVATION: seen}
            for index, (seen, info) in enumerate(zip(observations, infos, strict=True))
        ]

    def _mask(self, index: int, info: Any) -> Any:
        size = self._sizes[index]
        if not isinstance(info, Mapping) or MASK not in info:
            return np.zeros(size, np.int8)
        return exact(f"{MASK} of agent {index}", info[MASK], np.dtype(np.int8), (size,)).values
