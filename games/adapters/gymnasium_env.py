"""Gymnasium environments whose action and observation spaces are a ``Dict`` or a ``Tuple`` with one part per agent.

Rewards per agent: a mapping or a sequence in the place of the reward, or in ``info["rewards"]``. A single number is a
team reward: each agent gets it, whole. Ends per agent may be mappings (also with ``"__all__"``) or sequences; a single
flag counts for all. Of the info, what stands under an agent's name belongs to that agent and the rest to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium import spaces

from rollgym.games.adapters.family import Space, Turn, per_agent
from rollgym.games.errors import GameError


class GymnasiumFamily:
    """Drives a ``gymnasium.Env``."""

    def __init__(self, env: Any) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` if the spaces are not per agent."""
        self.env = env
        self.idle: tuple[Any, ...] | None = None
        actions, seen = env.action_space, env.observation_space
        expected = "Dict or Tuple spaces with one part per agent, for actions and observations alike"
        if not isinstance(actions, spaces.Dict | spaces.Tuple) or len(actions.spaces) < 1:
            raise GameError("action_space", str(actions), expected)
        self._named = isinstance(actions, spaces.Dict)
        if type(actions) is not type(seen) and not isinstance(seen, type(actions)):
            raise GameError("observation_space", str(seen), expected)
        self.agents, self.action_spaces = _parts(actions)
        agents, self.observation_spaces = _parts(seen)
        if set(agents) != set(self.agents):
            raise GameError("observation_space", ", ".join(agents), "the agents " + ", ".join(self.agents))
        by_name = dict(zip(agents, self.observation_spaces, strict=True))
        self.observation_spaces = tuple(by_name[agent] for agent in self.agents)

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        observations, info = self.env.reset(seed=seed)
        return self._observed(observations), self._infos(info)

    def step(self, actions: Sequence[Any]) -> Turn:
        joint = dict(zip(self.agents, actions, strict=True)) if self._named else tuple(actions)
        observations, reward, terminated, truncated, info = self.env.step(joint)
        rewards = info.get("rewards", reward) if isinstance(info, Mapping) else reward
        return Turn(
            self._observed(observations),
            per_agent(rewards, self.agents, "rewards"),
            per_agent(terminated, self.agents, "terminated"),
            per_agent(truncated, self.agents, "truncated"),
            self._infos(info),
        )

    def _observed(self, observations: Any) -> list[Any]:
        if self._named:
            if not isinstance(observations, Mapping) or any(agent not in observations for agent in self.agents):
                raise GameError("observation", type(observations).__name__, "a mapping with every agent")
            return [observations[agent] for agent in self.agents]
        if not isinstance(observations, tuple | list) or len(observations) != len(self.agents):
            raise GameError("observation", type(observations).__name__, f"a tuple of {len(self.agents)}")
        return list(observations)

    def _infos(self, info: Any) -> list[Any]:
        if not info:
            return [None] * len(self.agents)
        common = {key: value for key, value in info.items() if key != "rewards" and key not in self.agents}
        own = [info.get(agent) for agent in self.agents]
        return [{**common, **part} if isinstance(part, Mapping) else common for part in own]


def _parts(space: spaces.Dict[Any] | spaces.Tuple[Any]) -> tuple[tuple[str, ...], tuple[Space, ...]]:
    if isinstance(space, spaces.Dict):
        return tuple(str(key) for key in space.spaces), tuple(space.spaces.values())
    return tuple(f"agent_{index}" for index in range(len(space.spaces))), tuple(space.spaces)
