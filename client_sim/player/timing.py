"""How much of a peer's time the game and the bot take (the rest of its ticks is the engine's), and whether they are
at work right now.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rollgym.client_sim.peer.prediction_rules import is_named
from rollgym.client_sim.rollback.prediction.rule import InputHistory, Predictor
from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.policy import Policy
from rollgym.games.wrapper import GameWrapper
from rollgym.processes.forks import end_if_forked

T = TypeVar("T")


class Interrupted(Exception):
    """A call of the game or the bot was cut short, because the match had to end and the call did not."""


class Stopwatch:
    """Seconds spent inside of timed calls."""

    __slots__ = ("_process", "inside", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.inside = False
        """A timed call is under way."""
        self._process = os.getpid()

    def run(self, call: Callable[..., T], *args: Any) -> T:
        """The result of ``call(*args)``; its time is added. Raises :class:`Interrupted` in case of Ctrl-C."""
        outer, self.inside = self.inside, True
        began = time.perf_counter()
        try:
            return call(*args)
        except KeyboardInterrupt as error:
            raise Interrupted("the game was at work when the match had to end") from error
        finally:
            end_if_forked(self._process)
            self.inside = outer
            if not outer:
                self.seconds += time.perf_counter() - began


def timed_rule(rule: Predictor, watch: Stopwatch) -> Predictor:
    """A prediction rule whose every call is timed. One that has a name is the engine's own work."""
    if is_named(rule):
        return rule

    @functools.wraps(rule)
    def predict(history: InputHistory, frame: int) -> bytes:
        return watch.run(rule, history, frame)

    return predict


class TimedGame(GameWrapper):
    """A game whose every call is timed."""

    def __init__(self, game: Game, watch: Stopwatch) -> None:
        super().__init__(game)
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


class TimedPolicy:
    """A bot whose every call is timed."""

    def __init__(self, policy: Policy, watch: Stopwatch) -> None:
        self._policy = policy
        self._run = watch.run

    def reset(self, seed: int) -> None:
        self._run(self._policy.reset, seed)

    def act(self, observation: Observation, frame: int) -> Any:
        return self._run(self._policy.act, observation, frame)
