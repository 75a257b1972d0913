"""Small environments of each family, for the adapters' tests."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.agent_selector import AgentSelector

from rollgym.games.contract import Game
from rollgym.games.registry import make
from tests.adapters.broken import Sound


class Together(gymnasium.Env[Any, Any]):
    """Tuple spaces; ``reward`` says in which form rewards are given."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, reward: str = "sequence", size: int = 2) -> None:
        self.reward, self.size = reward, size
        self.action_space = spaces.Tuple([spaces.Discrete(4, start=-1)] * size)
        self.observation_space = spaces.Tuple([spaces.Box(-9, 9, (2,), np.float32)] * size)
        self.values: list[float] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.values = [float(v) for v in self.np_random.integers(0, 3, self.size)]
        return self._seen(), {"hello": seed}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert isinstance(action, tuple)
        self.values = [value + move for value, move in zip(self.values, action, strict=True)]
        each = [float(move) for move in action]
        info: dict[str, Any] = {"agent_1": {"mine": 1}, "all": np.arange(2), "odd": object()}
        reward: Any = sum(each)
        if self.reward == "sequence":
            reward = each
        elif self.reward == "array":
            reward = np.array(each)
        elif self.reward == "mapping":
            reward = {f"agent_{n}": value for n, value in enumerate(each)}
        elif self.reward == "info":
            info["rewards"] = {f"agent_{n}": value for n, value in enumerate(each)}
        over = [value > 5 for value in self.values]
        return self._seen(), reward, over, False, info

    def _seen(self) -> tuple[Any, ...]:
        # float64 and a list where the space says float32: environments do that
        return tuple([value, -value] for value in self.values)


class Leaving(ParallelEnv):  # type: ignore[misc]
    """Agents leave one after the other; the last one is cut off without a flag."""

    metadata = {"name": "leaving"}  # noqa: RUF012

    def __init__(self) -> None:
        self.possible_agents = ["a", "b", "late"]
        self.agents: list[str] = []
        self.t = 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Dict({"t": spaces.Discrete(100), "v": spaces.MultiBinary(2)})

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.t = ["a", "b"], 0
        return {agent: self._seen() for agent in self.agents}, {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        assert list(actions) == self.agents
        self.t += 1
        acted = list(self.agents)
        rewards = {agent: float(actions[agent][0]) for agent in acted}
        terminated = {agent: agent == "a" and self.t == 2 for agent in acted}
        self.agents = [agent for agent in acted if not terminated[agent]] if self.t < 4 else []
        return (
            {agent: self._seen() for agent in acted},
            rewards,
            terminated,
            dict.fromkeys(acted, False),
            {agent: {"t": self.t} for agent in acted},
        )

    def _seen(self) -> Any:
        return {"t": self.t, "v": np.array([self.t % 2, 1], np.int8)}


class Turns(AECEnv):  # type: ignore[misc]
    """Two players take numbers by turns; whoever reaches 5 wins. Taking 0 is not allowed."""

    metadata = {"name": "turns"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["x", "y"]

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Dict({"total": spaces.Box(0, 99, (2,), np.int64), "action_mask": spaces.Box(0, 1, (3,), np.int8)})

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(3)

    def observe(self, agent: str) -> Any:
        mine = agent == self.agent_selection
        return {"total": np.array([self.total[a] for a in "xy"]), "action_mask": np.array([0, mine, mine], np.int8)}

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.agents = list(self.possible_agents)
        self.total = {"x": 0, "y": 0}
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, Any] = {agent: {} for agent in self.agents}
        self._selector = AgentSelector(self.agents)
        self.agent_selection = self._selector.reset()

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self._clear_rewards()
        self.total[agent] += action
        self.agent_selection = self._selector.next()
        if self.total[agent] >= 5:
            self.rewards = {a: 1.0 if a == agent else -1.0 for a in self.agents}
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()


class Native(Sound):
    """Keeps its state where only ``get_state`` finds it, all but the generator."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.loads = 0

    def get_state(self) -> dict[str, Any]:
        return {"t": self.t, "place": self.place}

    def set_state(self, state: dict[str, Any]) -> None:
        self.loads += 1
        self.t, self.place = state["t"], state["place"]


def wrapped() -> Any:
    """A time limit of gymnasium's around an environment: part of the state is in the wrapper."""
    return gymnasium.wrappers.TimeLimit(Sound(length=1000), max_episode_steps=25)


def badly_named() -> Game:
    """A game of the contract whose agents no record can name."""
    game = make("pong")
    game.spec = dataclasses.replace(game.spec, agents=("", "c"))
    return game
