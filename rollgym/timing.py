"""How much of a peer's time the game and the bot take; the rest of its ticks is the engine's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.policies import Policy

T = TypeVar("T")


class Stopwatch:
    """Seconds spent inside of timed calls."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, call: Callable[..., T], *args: Any) -> T:
        """The result of ``call(*args)``; its time is added."""
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            self.seconds += time.perf_counter() - began


class TimedGame(Game):
    """A game whose every call is timed."""

    def __init__(self, game: Game, watch: Stopwatch) -> None:
        self.game = game
        self.spec = game.spec
        self._run = watch.run

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        return self._run(self.game.reset, seed)

    def step(self, inputs: JointInput) -> Outcome:
        return self._run(self.game.step, inputs)

    def save(self) -> Any:
        return self._run(self.game.save)

    def load(self, snapshot: Any) -> None:
        self._run(self.game.load, snapshot)

    def state_bytes(self, snapshot: Any) -> bytes:
        return self._run(self.game.state_bytes, snapshot)

    def digest(self, snapshot: Any) -> int:
        return self._run(self.game.digest, snapshot)

    def observe(self) -> tuple[Observation, ...]:
        return self._run(self.game.observe)

    def observe_at(self, snapshot: Any) -> tuple[Observation, ...]:
        return self._run(self.game.observe_at, snapshot)

    def state_fields(self, snapshot: Any) -> Mapping[str, Any]:
        return self.game.state_fields(snapshot)

    def close(self) -> None:
        self.game.close()


class TimedPolicy:
    """A bot whose every call is timed."""

    def __init__(self, policy: Policy, watch: Stopwatch) -> None:
        self._policy = policy
        self._run = watch.run

    def reset(self, seed: int) -> None:
        self._run(self._policy.reset, seed)

    def act(self, observation: Observation, frame: int) -> Any:
        return self._run(self._policy.act, observation, frame)
