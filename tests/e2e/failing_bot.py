"""A bot that fails in the second episode, in one of the ways in which code can."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from rollgym.games.contract import GameSpec, Observation
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy

AT = 30
"""Frame of the failure."""


def _raise() -> None:
    raise ZeroDivisionError("the researcher's own")


def _crash() -> None:
    print("about to touch what is not there", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


class Panic(BaseException):
    """As libraries in Rust raise it."""


def _panic() -> None:
    raise Panic("index out of bounds")


def _hang() -> None:
    while True:
        time.sleep(0.1)


WAYS: dict[str, Callable[[], Any]] = {
    "raises": _raise,
    "panics": _panic,
    "crashes": _crash,
    "ends the process": lambda: os._exit(3),
    "wants to exit": lambda: sys.exit("no licence"),
    "hangs": _hang,
}


class _Failing:
    def __init__(self, policy: Policy, way: str) -> None:
        self._policy = policy
        self._way = way
        self._episodes = 0

    def reset(self, seed: int) -> None:
        self._episodes += 1
        self._policy.reset(seed)

    def act(self, observation: Observation, frame: int) -> Any:
        if self._way and self._episodes == 2 and frame == AT:
            WAYS[self._way]()
        return self._policy.act(observation, frame)


def bot(spec: GameSpec, player: int, seed: int, *, way: str) -> Policy:
    """Plays at random until it fails in this way. Empty: it does not."""
    return _Failing(make_policy("random_hold", spec, player, seed), way)
