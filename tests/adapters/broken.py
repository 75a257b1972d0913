"""Environments that are not safe to roll back, each in one way, and one that is.

All are the same little game for two: whoever moves changes a number; now and then luck does.
"""

from __future__ import annotations

import copy
import ctypes
import json
import os
import random
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from pathlib import Path
from time import time as now
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle

Values = dict[str, Any]


class Sound(gymnasium.Env[Values, Values]):
    """The game as it should be."""

    metadata = {"render_modes": [], "render_fps": 20}  # noqa: RUF012

    def __init__(self, length: int = 40) -> None:
        self.length = length
        self.agents = ("left", "right")
        self.action_space = spaces.Dict({agent: spaces.Discrete(3) for agent in self.agents})
        box = spaces.Box(-1e6, 1e6, (3,), np.float64)
        self.observation_space = spaces.Dict(dict.fromkeys(self.agents, box))
        self.t = 0
        self.place = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        super().reset(seed=seed)
        self.t = 0
        self.place = self.np_random.normal(size=2)
        return self._seen(), {}

    def step(self, action: Values) -> tuple[Values, float, bool, bool, Values]:
        self.t += 1
        for index, agent in enumerate(self.agents):
            self.place[index] += (action[agent] - 1) * 0.1 + self.luck(action)
        return self._seen(), float(self.place.sum()), False, self.t >= self.length, {}

    def luck(self, action: Values) -> float:
        return float(self.np_random.normal()) * 0.01

    def _seen(self) -> Values:
        return {agent: np.array([*self.place, self.t], np.float64) for agent in self.agents}


class Raising(Sound):
    def luck(self, action: Values) -> float:
        if self.t == 7:
            raise RuntimeError("oops in my env")
        return 0.0


class GlobalRandom(Sound):
    def luck(self, action: Values) -> float:
        return random.random()


class NumpyGlobalRandom(Sound):
    def luck(self, action: Values) -> float:
        return float(np.random.random())


class WallTime(Sound):
    def luck(self, action: Values) -> float:
        return time.time() % 1.0


class HourOfDay(Sound):
    """Day and night, by the wall clock."""

    def luck(self, action: Values) -> float:
        return 0.01 * (datetime.now().hour >= 12)  # noqa: DTZ005 - the point of it


class DayOfWeek(Sound):
    def luck(self, action: Values) -> float:
        return 0.01 * date.today().weekday()  # noqa: DTZ011 - the point of it


class Formatted(Sound):
    def luck(self, action: Values) -> float:
        return 0.01 * int(time.strftime("%d"))


class ClockByName(Sound):
    """Has imported the function, not the module."""

    def luck(self, action: Values) -> float:
        return 1e-3 * (int(now() * 10) % 7)


class ClockAsDefault(Sound):
    """Has the function as a default and as an attribute."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.since = time.perf_counter

    def luck(self, action: Values, clock: Callable[[], int] = time.monotonic_ns) -> float:
        return (clock() % 1000 + self.since() % 1) * 1e-6


class Bytes(Sound):
    def luck(self, action: Values) -> float:
        return os.urandom(1)[0] * 1e-3


class Secret(Sound):
    def luck(self, action: Values) -> float:
        return secrets.randbelow(1000) * 1e-3


class Named(Sound):
    """Gives things names that nobody else has."""

    def luck(self, action: Values) -> float:
        return uuid.uuid4().int % 1000 * 1e-3


class Unseeded(Sound):
    def luck(self, action: Values) -> float:
        return float(np.random.default_rng().normal()) + random.Random().random()


class ProcessNumber(Sound):
    def luck(self, action: Values) -> float:
        return os.getpid() * 1e-3


class HostName(Sound):
    def luck(self, action: Values) -> float:
        return sum(socket.gethostname().encode()) * 1e-3


class RemembersCalls(Sound):
    @cache  # noqa: B019 - the point of it
    def first(self, key: int) -> float:
        return float(np.random.default_rng().random())

    def luck(self, action: Values) -> float:
        return self.first(self.t)


class CachedCounter(Sound):
    """Counts through a cache, which outlives every episode."""

    @cache  # noqa: B019 - the point of it
    def first(self, key: int) -> list[int]:
        return []

    def luck(self, action: Values) -> float:
        known = self.first(0)
        known.append(1)
        return 1e-3 * len(known)


class MutableDefault(Sound):
    def luck(self, action: Values, known: list[int] = []) -> float:  # noqa: B006 - the point of it
        known.append(1)
        return 1e-3 * len(known)


class CachedOnDisk(Sound):
    """Plans once, and afterwards reads the plan, which was rounded when it was written."""

    def __init__(self, path: str, length: int = 40) -> None:
        super().__init__(length)
        self.plan, self.path = 0.0, path

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        file = Path(self.path)
        if file.exists():
            self.plan = json.loads(file.read_text())
        else:
            self.plan = 1 / 3
            file.write_text(json.dumps(round(self.plan, 3)))
        return super().reset(seed=seed)

    def luck(self, action: Values) -> float:
        return self.plan


class _World:
    """One for all of the process."""

    wind = 0.0


_WORLD = _World()


class Singleton(Sound):
    """Sets its module's only world anew in every reset and saves what it can: one instance alone is as it should be."""

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        self.world = _WORLD
        self.world.wind = 0.0
        return super().reset(seed=seed)

    def luck(self, action: Values) -> float:
        self.world.wind += 0.01
        return self.world.wind


class OnlyOne(Sound):
    """A process has room for one."""

    made = 0

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        type(self).made += 1
        if self.made > 1:
            raise RuntimeError("there is one already")

    def close(self) -> None:
        type(self).made -= 1


_MOVES = {"count": 0}


class ModuleState(Sound):
    """Counts in a variable of its module, from 0 in every episode."""

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        _MOVES["count"] = 0
        return super().reset(seed=seed)

    def luck(self, action: Values) -> float:
        _MOVES["count"] += 1
        return 0.001 * _MOVES["count"]


class ClassState(Sound):
    """Counts in an attribute of its class."""

    count = 0

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        ClassState.count = 0
        return super().reset(seed=seed)

    def luck(self, action: Values) -> float:
        ClassState.count += action["left"]
        return 0.001 * ClassState.count


class Both(ModuleState):
    """Two things at once."""

    def luck(self, action: Values) -> float:
        return super().luck(action) + 0.001 * random.random()


class SetOrder(Sound):
    """Goes through a set of texts: the first one counts."""

    def luck(self, action: Values) -> float:
        return float(next(iter({str(n) for n in range(20)})))


class FreshCopies(Sound, EzPickle):
    """Its own way to save is a deep copy, and a copy of an EzPickle is a fresh environment."""

    def __init__(self, length: int = 40) -> None:
        EzPickle.__init__(self, length)
        Sound.__init__(self, length)

    def get_state(self) -> Values:
        copied = copy.deepcopy(self)
        return {"t": copied.t, "place": copied.place}

    def set_state(self, state: Values) -> None:
        self.t, self.place = state["t"], state["place"].copy()


class CHandle(Sound):
    """Keeps its counter in C, behind a ctypes object."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.counter = ctypes.c_long(0)

    def luck(self, action: Values) -> float:
        self.counter.value += action["right"]
        return 0.001 * self.counter.value


class HiddenCHandle(Sound):
    """The same behind a mere number: an address."""

    _kept: list[Any] = []  # noqa: RUF012 - the memory outlives the instance

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        memory = ctypes.create_string_buffer(8)
        self._kept.append(memory)
        self.address = ctypes.addressof(memory)

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        ctypes.c_long.from_address(self.address).value = 0
        return super().reset(seed=seed)

    def luck(self, action: Values) -> float:
        counter = ctypes.c_long.from_address(self.address)
        counter.value += action["right"]
        return 0.001 * counter.value


class UnseededStart(Sound):
    """Draws in the constructor, and never again."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.wind = float(np.random.default_rng().normal())

    def luck(self, action: Values) -> float:
        return self.wind


class Generator(Sound):
    """Plays a script out of a running generator."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.script = (0.01 * n for n in range(10_000))

    def luck(self, action: Values) -> float:
        return next(self.script)


def sticky_pong() -> Any:
    """Atari Pong with sticky actions."""
    from pettingzoo.atari.pong.pong import parallel_env

    from rollgym.games.env_catalogue.builds import roms

    env = parallel_env(obs_type="ram", max_cycles=200, auto_rom_install_path=str(roms().parent))
    env.unwrapped.ale.setFloat(b"repeat_action_probability", 0.25)
    return env
