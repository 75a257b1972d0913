"""PettingZoo parallel environments.

An agent that has left keeps its last observation, gets no reward, and its flag stays; what its player presses is
ignored. An agent that is not there at the start sees zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollgym.games.adapters.family import ABSENT, Space, Turn
from rollgym.games.errors import GameError


class ParallelFamily:
    """Drives a ``pettingzoo.ParallelEnv``."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.idle: tuple[Any, ...] | None = None
        self.agents, self.action_spaces, self.observation_spaces = spaces_of(env)

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        observations, infos = self.env.reset(seed=seed)
        return [observations.get(a, ABSENT) for a in self.agents], [infos.get(a) for a in self.agents]

    def step(self, actions: Sequence[Any]) -> Turn:
        there = set(self.env.agents)
        joint = {agent: action for agent, action in zip(self.agents, actions, strict=True) if agent in there}
        observations, rewards, terminated, truncated, infos = self.env.step(joint)
        # A parallel environment may empty `agents` at the end without flagging those who were still there.
        gone = there - set(self.env.agents)
        return Turn(
            [observations.get(a, ABSENT) for a in self.agents],
            [rewards.get(a, 0.0) for a in self.agents],
            [terminated.get(a, False) for a in self.agents],
            [truncated.get(a, False) or (a in gone and not terminated.get(a, False)) for a in self.agents],
            [infos.get(a) for a in self.agents],
        )


def spaces_of(env: Any) -> tuple[tuple[str, ...], tuple[Space, ...], tuple[Space, ...]]:
    """The possible agents of a PettingZoo environment, and their action and observation spaces."""
    agents = getattr(env, "possible_agents", None)
    if not agents:
        raise GameError("possible_agents", agents, "all agents that can ever be there, known before the first reset")
    if not all(isinstance(agent, str) for agent in agents):
        raise GameError("possible_agents", agents, "names: every agent a string")
    return (
        tuple(agents),
        tuple(env.action_space(agent) for agent in agents),
        tuple(env.observation_space(agent) for agent in agents),
    )
