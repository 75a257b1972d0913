"""A game around a game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollgym.games.contract import Game, JointInput, Observation, Outcome


class GameWrapper(Game):
    """Does what the game inside does. Subclasses override what they do otherwise.

    Whoever adds something to the snapshot overrides :meth:`save`, :meth:`load`, :meth:`state_bytes` and
    :meth:`inner`; all else that is asked of a snapshot goes through the latter.
    """

    def __init__(self, game: Game) -> None:
        """The game inside belongs to the wrapper from then on."""
        self.game = game
        self.spec = game.spec

    def inner(self, snapshot: Any) -> Any:
        """The part of a snapshot that is the inner game's."""
        return snapshot

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        return self.game.reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        return self.game.step(inputs)

    def save(self) -> Any:
        return self.game.save()

    def load(self, snapshot: Any) -> None:
        self.game.load(self.inner(snapshot))

    def state_bytes(self, snapshot: Any) -> bytes:
        return self.game.state_bytes(self.inner(snapshot))

    def state_fields(self, snapshot: Any) -> Mapping[str, Any]:
        return self.game.state_fields(self.inner(snapshot))

    def observe(self) -> tuple[Observation, ...]:
        return self.game.observe()

    def observe_agents(self, agents: Sequence[int]) -> tuple[Observation, ...]:
        return self.game.observe_agents(agents)

    def observe_at(self, snapshot: Any) -> tuple[Observation, ...]:
        return self.game.observe_at(self.inner(snapshot))

    def render(self) -> NDArray[np.uint8] | None:
        return self.game.render()

    def render_text(self) -> str | None:
        return self.game.render_text()

    def close(self) -> None:
        self.game.close()
