"""Random environments that keep a log of what they returned: the oracle of what is true.

The log is apart from the environment, so that no rollback takes anything out of it: what was returned last for a frame
is what the frame gave.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

Space = spaces.Space[Any]


@dataclass(frozen=True)
class EnvPlan:
    """A whole environment. What it returns follows from the seed and the actions alone."""

    agents: tuple[Hashable, ...]
    actions: tuple[Space, ...]
    observations: tuple[Space, ...]
    frames: int
    out: tuple[frozenset[int], ...]
    """Per frame, the agents that are not there after it; in the last nobody is."""
    infos: tuple[dict[str, Any], ...]
    """What agents may be told, in turn."""
    rewards: tuple[float, ...]


@dataclass
class Log:
    """What one instance returned: by frame, -1 for ``reset``."""

    env: Any
    returned: dict[int, Any] = field(default_factory=dict)


PLANS: dict[int, EnvPlan] = {}
LOGS: dict[int, Log] = {}


def make(plan: int) -> RandomEnv:
    return RandomEnv(plan)


def make_from(file: str) -> RandomEnv:
    """The environment of a pickled plan: for processes that were not there when it was drawn."""
    PLANS[0] = pickle.loads(Path(file).read_bytes())
    return RandomEnv(0)


class RandomEnv(ParallelEnv):  # type: ignore[misc]
    metadata = {"name": "random", "render_fps": 30}  # noqa: RUF012

    def __init__(self, plan: int) -> None:
        self.number = plan
        self.possible_agents = list(self.plan.agents)
        self.agents: list[Hashable] = []
        self.t, self.state = 0, 0
        LOGS[id(self)] = Log(self)  # holds it, so that no other instance gets its id

    @property
    def plan(self) -> EnvPlan:
        return PLANS[self.number]

    def action_space(self, agent: Hashable) -> Space:
        return self.plan.actions[self.plan.agents.index(agent)]

    def observation_space(self, agent: Hashable) -> Space:
        return self.plan.observations[self.plan.agents.index(agent)]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.state = 0, _mixed(seed)
        self.agents = list(self.plan.agents)
        return self._logged(-1, (self._seen(range(len(self.agents))), self._told(range(len(self.agents)))))

    def step(self, actions: dict[Hashable, Any]) -> Any:
        plan = self.plan
        everybody = range(len(plan.agents))
        self.state = _mixed(self.state, self.t, *(_plain(actions.get(agent)) for agent in plan.agents))
        out = plan.out[self.t]
        over = {plan.agents[n]: (n in out and self.state % 2 == 0, n in out and self.state % 2 == 1) for n in everybody}
        was_there = [n for n in everybody if plan.agents[n] in self.agents]
        there = [n for n in everybody if n not in out]
        told = [n for n in everybody if n in was_there or n in there]
        self.agents = [plan.agents[n] for n in there]
        self.t += 1
        rewards = {plan.agents[n]: plan.rewards[(self.state + n) % len(plan.rewards)] for n in told}
        flags = [{plan.agents[n]: over[plan.agents[n]][which] for n in told} for which in (0, 1)]
        return self._logged(self.t - 1, (self._seen(told), rewards, flags[0], flags[1], self._told(told)))

    def close(self) -> None:
        """Nothing to let go of."""

    def _seen(self, who: Any) -> dict[Hashable, Any]:
        plan = self.plan
        return {plan.agents[n]: drawn(plan.observations[n], _mixed(self.state, n)) for n in who}

    def _told(self, who: Any) -> dict[Hashable, Any]:
        plan = self.plan
        return {plan.agents[n]: copy.deepcopy(plan.infos[(self.state + n) % len(plan.infos)]) for n in who}

    def _logged(self, frame: int, returned: Any) -> Any:
        LOGS[id(self)].returned[frame] = copy.deepcopy(returned)
        return returned


def drawn(space: Space, seed: int) -> Any:
    """A member of a space (whose floats may also be what no arithmetic likes) that follows from the seed."""
    if isinstance(space, spaces.Dict):
        return {key: drawn(part, _mixed(seed, n)) for n, (key, part) in enumerate(sorted(space.spaces.items()))}
    if isinstance(space, spaces.Tuple):
        return tuple(drawn(part, _mixed(seed, n)) for n, part in enumerate(space.spaces))
    if isinstance(space, spaces.Box) and space.dtype.kind in "iu":
        # A Box of the whole of int64 does not sample itself: gymnasium adds one to its bound.
        generator = np.random.default_rng(seed)
        return generator.integers(space.low, space.high, dtype=space.dtype.type, endpoint=True)
    space = copy.deepcopy(space)
    space.seed(seed)
    value = space.sample()
    if isinstance(space, spaces.Box) and np.asarray(value).dtype.kind == "f" and seed % 3 == 0:
        value = np.array(value)
        value.reshape(-1)[: 1 + seed % 2] = (np.nan, -0.0, np.inf)[seed // 3 % 3]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(_plain(value[key]) for key in sorted(value))
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return np.asarray(0 if value is None else value).tobytes()


def _mixed(*parts: Any) -> int:
    """31 bits of all of them."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=4).digest(), "little") & 0x7FFFFFFF
