"""The bot that does nothing."""

from __future__ import annotations

from typing import Any

from rollgym.games.contract import Observation
from rollgym.games.policy import PolicySeat


class IdlePolicy:
    """Always does what the game says that a player who does nothing does."""

    def __init__(self, seat: PolicySeat) -> None:
        self._action = seat.spec.default_actions[seat.agent]

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        return self._action
