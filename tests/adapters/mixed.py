"""Environments put together from traits, some of which can be rolled back and some of which cannot."""

from __future__ import annotations

import collections
import itertools
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces

from tests.adapters.broken import Sound, Values

LENGTH = 20


class _Outside:
    count = 0
    known: list[int] = []  # noqa: RUF012 - the point of it


@cache
def _remembered(key: int) -> list[int]:
    return []


def _counts(env: Any, action: Values) -> float:
    return float(next(env.counter))


def _samples(env: Any, action: Values) -> float:
    return float(env.players["left"].sample())


def _closes_over(env: Any, action: Values) -> float:
    return float(env.tick(action["left"]))


def _has_attributes(env: Any, action: Values) -> float:
    env.hear.heard += action["right"]
    return float(env.hear.heard)


def _makes_entries(env: Any, action: Values) -> float:
    env.visits[env.t % 3, action["left"]] += 1
    return float(len(env.visits))


def _locks_arrays(env: Any, action: Values) -> float:
    env.grid = np.roll(env.grid, action["left"])
    env.grid.flags.writeable = bool(env.t % 2)
    return float(env.grid[0])


def _writes_a_map(env: Any, action: Values) -> float:
    env.map[env.t % 9, action["right"]] += 1
    return float(env.map.sum())


def _looks_up(env: Any, action: Values) -> float:
    env.at = env.table[env.at, action["left"]]
    return float(env.at)


def _remembers_in_its_class(env: Any, action: Values) -> float:
    _Outside.count += action["left"]
    return float(_Outside.count % 5)


def _remembers_in_its_module(env: Any, action: Values) -> float:
    _Outside.known.append(action["right"])
    return float(len(_Outside.known) % 7)


def _remembers_in_a_cache(env: Any, action: Values) -> float:
    known = _remembered(0)
    known.append(1)
    return float(len(known) % 7)


def _reads_the_clock(env: Any, action: Values) -> float:
    return float(time.monotonic() % 1)


def _asks_the_system(env: Any, action: Values) -> float:
    return float(os.urandom(1)[0])


def _draws_from_all(env: Any, action: Values) -> float:
    return random.random()


def _draws_from_numpy(env: Any, action: Values) -> float:
    return float(np.random.random())


SOUND: dict[str, Callable[[Any, Values], float]] = {
    "counts": _counts,
    "samples": _samples,
    "closes over": _closes_over,
    "has attributes": _has_attributes,
    "makes entries": _makes_entries,
    "locks arrays": _locks_arrays,
    "writes a map": _writes_a_map,
    "looks up": _looks_up,
}
BROKEN: dict[str, Callable[[Any, Values], float]] = {
    "remembers in its class": _remembers_in_its_class,
    "remembers in its module": _remembers_in_its_module,
    "remembers in a cache": _remembers_in_a_cache,
    "reads the clock": _reads_the_clock,
    "asks the system": _asks_the_system,
    "draws from all": _draws_from_all,
    "draws from numpy": _draws_from_numpy,
}


class Mixed(Sound):
    """The sound game, of which every trait changes a little."""

    def __init__(self, traits: Sequence[str] = ()) -> None:
        super().__init__(LENGTH)
        self.traits = tuple(traits)
        self.players: Any = self.action_space
        self.counter = itertools.count()
        self.visits: Any = collections.defaultdict(int)
        self.grid, self.map = np.arange(5.0), np.zeros((100, 100))
        self.table = {(at, move): (at * 3 + move) % 7 for at, move in itertools.product(range(7), range(3))}
        self.at = 0
        moves: list[int] = []

        def tick(move: int) -> int:
            moves.append(move)
            return sum(moves)

        hear: Any = lambda: None  # noqa: E731 - a function that carries something
        hear.heard = 0
        self.tick, self.hear, self.spare = tick, hear, spaces.Discrete(3)

    def luck(self, action: Values) -> float:
        every = {**SOUND, **BROKEN}
        return sum(every[trait](self, action) for trait in self.traits) * 1e-3


def make(traits: Sequence[str] = ()) -> Mixed:
    return Mixed(traits)
