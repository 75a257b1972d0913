"""A frame limit around any game, so that a match can truncate episodes that the game itself would not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollgym.games.contract import Game, JointInput, Outcome
from rollgym.games.wrapper import GameWrapper


def limited(game: Game, frame_limit: int | None) -> Game:
    """``game`` itself, or ``game`` truncated for all agents after ``frame_limit`` frames."""
    return game if frame_limit is None else FrameLimit(game, frame_limit)


class FrameLimit(GameWrapper):
    """Truncates after ``limit`` frames. The frame counter is part of the state, so rollbacks restore it."""

    def __init__(self, game: Game, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"frame limit {limit}: expected at least 1")
        super().__init__(game)
        self.limit = limit
        self._frame = 0

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self._frame = 0
        return self.game.reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        outcome = self.game.step(inputs)
        self._frame += 1
        if self._frame < self.limit or outcome.terminal:
            return outcome
        truncated = tuple(not over for over in outcome.terminated)
        return outcome._replace(truncated=truncated, terminal=True)

    def inner(self, snapshot: Any) -> Any:
        return snapshot[1]

    def save(self) -> Any:
        return (self._frame, self.game.save())

    def load(self, snapshot: Any) -> None:
        self._frame = snapshot[0]
        self.game.load(snapshot[1])

    def state_bytes(self, snapshot: Any) -> bytes:
        return int(snapshot[0]).to_bytes(8, "little") + self.game.state_bytes(snapshot[1])

    def state_fields(self, snapshot: Any) -> Mapping[str, Any]:
        return {"frame_limit.frame": snapshot[0], **self.game.state_fields(snapshot[1])}
