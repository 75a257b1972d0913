"""PettingZoo AEC environments: one agent acts per frame, in the order that the environment says.

The inputs of the players whose turn it is not are ignored; their infos say so (``ignored: True``). Everybody is
observed in every frame, at once, because observing may change a wrapper's state, and everybody gets the rewards that
the move gave. Agents that are over leave the environment within the frame in which they end.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from games.adapters.family import ABSENT, Turn
from games.adapters.parallel_env import spaces_of


class AecFamily:
    """Drives a ``pettingzoo.AECEnv``."""

    def __init__(self, env: Any) -> None:
        self.env = env
        # A predicted move is often illegal, and taken back: not worth a warning each time.
        logging.getLogger("pettingzoo.utils.env_logger").setLevel(logging.ERROR)
        self.agents, self.action_spaces, self.observation_spaces = spaces_of(env)

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        self.env.reset(seed=seed)
        return self._observed(), [self.env.infos.get(agent) for agent in self.agents]

    def step(self, actions: Sequence[Any]) -> Turn:
        env = self.env
        turn = self.agents.index(env.agent_selection)
        env.step(actions[turn])
        terminated, truncated = env.terminations, env.truncations
        infos = []
        for index, agent in enumerate(self.agents):
            info = dict(env.infos.get(agent) or {})
            if index != turn:
                info["ignored"] = True
            infos.append(info)
        result = Turn(
            self._observed(),
            [env.rewards.get(agent, 0.0) for agent in self.agents],
            [terminated.get(agent, False) for agent in self.agents],
            [truncated.get(agent, False) for agent in self.agents],
            infos,
        )
        while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
            env.step(None)
        return result

    def _observed(self) -> list[Any]:
        there = set(self.env.agents)
        return [self.env.observe(agent) if agent in there else ABSENT for agent in self.agents]
