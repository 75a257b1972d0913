"""OpenSpiel's games in which both move at once, through shimmy, as a PettingZoo parallel environment.

shimmy asks for one player's move after the other. Here a step takes both, so that a frame is a move of the game.

OpenSpiel raises for a move that is not allowed, and a predicted move often is not: in its place the lowest allowed one
is played, and the info says so (``replaced: True``). What is allowed stands in ``action_mask`` of the info.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class SimultaneousGame(ParallelEnv):  # type: ignore[misc]
    """A game by OpenSpiel's name, with OpenSpiel's parameters. A ``stage_game`` is given by its name."""

    metadata = {"name": "openspiel", "render_modes": []}  # noqa: RUF012 - PettingZoo's own form

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        import pyspiel
        from shimmy.openspiel_compatibility import OpenSpielCompatibilityV0

        config = dict(parameters)
        if "stage_game" in config:
            stage = str(config["stage_game"])
            config["stage_game"] = {**pyspiel.load_game(stage).get_parameters(), "name": stage}
        self.turns = OpenSpielCompatibilityV0(game_name=name, config=config)
        self.max_steps = int(pyspiel.load_game(name, config).max_game_length())
        self.possible_agents: list[str] = list(self.turns.possible_agents)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        space: spaces.Space[Any] = self.turns.observation_space(agent)
        return space

    def action_space(self, agent: str) -> spaces.Space[Any]:
        space: spaces.Space[Any] = self.turns.action_space(agent)
        return space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start an episode."""
        self.turns.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        return self._observed(), self._infos({})

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Both move."""
        turns, replaced = self.turns, {}
        allowed = {agent: np.flatnonzero(turns.infos[agent]["action_mask"]) for agent in self.agents}
        for agent in self.agents:
            if turns.agent_selection == agent and len(allowed[agent]):
                # shimmy ends a game after as many nodes as it may have moves, and counts draws of chance among them.
                turns.game_length = 0
                replaced[agent] = actions[agent] not in allowed[agent]
                turns.step(int(allowed[agent][0]) if replaced[agent] else int(actions[agent]))
        agents = self.agents
        rewards = {agent: float(turns.rewards[agent]) for agent in agents}
        terminated = {agent: bool(turns.terminations[agent]) for agent in agents}
        truncated = {agent: bool(turns.truncations[agent]) for agent in agents}
        infos = self._infos(replaced)
        if all(terminated[agent] or truncated[agent] for agent in agents):
            self.agents = []
        return self._observed(), rewards, terminated, truncated, infos

    def close(self) -> None:
        """Nothing is held."""

    def _observed(self) -> dict[str, Any]:
        return {agent: self.turns.observe(agent) for agent in self.possible_agents}

    def _infos(self, replaced: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
        return {
            agent: {**self.turns.infos[agent], **({"replaced": True} if replaced.get(agent) else {})}
            for agent in self.agents
        }
