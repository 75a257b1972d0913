"""A bot for games that say what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.policy import PolicySeat


class LegalPolicy:
    """Draws one of the actions that the observation's ``action_mask`` allows; without any it idles."""

    def __init__(self, seat: PolicySeat) -> None:
        space = seat.spec.action_spaces[seat.agent]
        seen = seat.spec.observation_spaces[seat.agent]
        if (
            not isinstance(space, spaces.Discrete)
            or not isinstance(seen, spaces.Dict)
            or "action_mask" not in seen.spaces
        ):
            raise GameError(
                "policy",
                "random_legal",
                f"a policy for {seat.spec.id}; this one needs Discrete actions and an action_mask in the observation "
                "(one in the infos is moved there by adapter={action_mask: true})",
            )
        self._seat = seat
        self._start = int(space.start)
        self._idle = seat.spec.default_actions[seat.agent]
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> Any:
        allowed = np.flatnonzero(observation["action_mask"])
        if not len(allowed):
            return self._idle
        draws = Draws(self._seat.seed, self._episode_seed, self._seat.agent, frame)
        return self._start + int(allowed[draws.below(len(allowed))])
