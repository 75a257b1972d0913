"""Bots that draw their actions: every frame, or one for some frames."""

from __future__ import annotations

from typing import Any

from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.parameters import checked_integer
from rollgym.games.policy import PolicySeat


class RandomPolicy:
    """Draws a new action every ``hold`` frames."""

    def __init__(self, seat: PolicySeat, hold: int = 4) -> None:
        """``1 <= hold``. Raises :class:`~rollgym.games.errors.GameError` for a space that cannot be drawn from."""
        self._seat = seat
        self._hold = checked_integer("random_hold.hold", hold, 1)
        self._sample = sampler(seat.spec.action_spaces[seat.agent])
        self._episode_seed = 0
        self._held = -1
        self._action: Any = None

    def reset(self, seed: int) -> None:
        self._episode_seed = seed
        self._held = -1

    def act(self, observation: Observation, frame: int) -> Any:
        moment = frame // self._hold
        if moment != self._held:
            self._action = self._sample(Draws(self._seat.seed, self._episode_seed, self._seat.agent, moment))
            self._held = moment
        return self._action


def every_frame(seat: PolicySeat) -> RandomPolicy:
    """Draws a new action every frame."""
    return RandomPolicy(seat, 1)
