"""Drift whose calls take long, once each, in the process of a bot that asks for that."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rollgym.games.contract import Game, GameSpec, JointInput, Observation, Outcome
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make as make_game

CALLS = (
    *("reset", "step", "save", "load", "state_bytes", "observe"),
    *("act", "policy", "policy reset"),
)
"""Everything of the game and the bot that is called once a match has begun."""

_slow: dict[str, float] = {}


def _take_long(call: str) -> None:
    time.sleep(_slow.pop(call, 0.0))


class SlowGame(Game):
    """Drift; each of its calls may be slow once."""

    def __init__(self) -> None:
        self._game = make_game("drift")
        self.spec = self._game.spec

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        _take_long("reset")
        return self._game.reset(seed)

    def step(self, inputs: JointInput) -> Outcome:
        _take_long("step")
        return self._game.step(inputs)

    def save(self) -> Any:
        _take_long("save")
        return self._game.save()

    def load(self, snapshot: Any) -> None:
        _take_long("load")
        self._game.load(snapshot)

    def state_bytes(self, snapshot: Any) -> bytes:
        _take_long("state_bytes")
        return self._game.state_bytes(snapshot)

    def digest(self, snapshot: Any) -> int:
        _take_long("digest")
        return self._game.digest(snapshot)

    def observe(self) -> tuple[Observation, ...]:
        _take_long("observe")
        return self._game.observe()

    def observe_at(self, snapshot: Any) -> tuple[Observation, ...]:
        _take_long("observe_at")
        return self._game.observe_at(snapshot)


class _SlowPolicy:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def reset(self, seed: int) -> None:
        _take_long("policy reset")
        self._policy.reset(seed)

    def act(self, observation: Observation, frame: int) -> Any:
        if frame == 20:
            _take_long("act")
        return self._policy.act(observation, frame)


def game() -> Game:
    return SlowGame()


def bot(spec: GameSpec, player: int, seed: int, *, slow: str, seconds: float) -> Policy:
    """Plays at random, and lets the call ``slow`` of this process take ``seconds`` once. Empty: none."""
    if slow:
        _slow[slow] = seconds
    _take_long("policy")
    return _SlowPolicy(make_policy("random_hold", spec, player, seed))
