"""A game as a PettingZoo parallel environment. Needs the ``pettingzoo`` package."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from rollgym.games.as_env.gym_env import by_agent, encode_joint, flags, observed
from rollgym.games.contract import Game
from rollgym.games.errors import GameError


class ParallelGame(ParallelEnv):  # type: ignore[misc]
    """All players of a game at once, everything in dicts by agent name. NPCs belong to the environment.

    A seedless reset goes on with the next seed of a sequence that the last given seed started.
    """

    def __init__(self, game: Game, render_mode: str | None = None) -> None:
        """The game belongs to the environment from then on."""
        if render_mode not in (None, "rgb_array", "ansi"):
            raise GameError("render_mode", render_mode, "None, rgb_array or ansi")
        self.game = game
        self.render_mode = render_mode
        self.metadata = {
            "name": f"rollgym_{game.spec.id}_v0",
            "render_modes": ["rgb_array", "ansi"],
            "render_fps": game.spec.fps,
        }
        self.possible_agents = [game.spec.agents[agent] for agent in game.spec.seats]
        self.agents: list[str] = []
        self.observation_spaces: dict[str, spaces.Space[Any]] = by_agent(game.spec, game.spec.observation_spaces)
        self.action_spaces: dict[str, spaces.Space[Any]] = by_agent(game.spec, game.spec.action_spaces)
        self._seeds = np.random.default_rng()

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """One agent's observation space."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """One agent's action space."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start an episode. Raises :class:`~rollgym.games.errors.GameError` for a seed outside ``0..2**63-1``."""
        if seed is None:
            seed = int(self._seeds.integers(2**63 - 1))
        elif not 0 <= seed < 2**63:
            raise GameError("seed", seed, "an integer 0..2**63-1")
        else:
            self._seeds = np.random.default_rng(seed)
        infos = self.game.reset(seed)
        self.agents = list(self.possible_agents)
        return self._observations(), {a: dict(i) for a, i in by_agent(self.game.spec, infos).items()}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """One frame. Raises :class:`~rollgym.games.errors.GameError` after the end of an episode."""
        if not self.agents:
            raise GameError("actions", actions, "a reset first: the episode is over")
        outcome = self.game.step(encode_joint(self.game, actions))
        terminations, truncations = flags(self.game, outcome)
        rewards = by_agent(self.game.spec, outcome.rewards)
        infos = {a: dict(i) for a, i in by_agent(self.game.spec, outcome.infos).items()}
        if outcome.terminal:
            self.agents = []
        return self._observations(), rewards, terminations, truncations, infos

    def render(self) -> NDArray[np.uint8] | str | None:
        """The present state in the form of the render mode."""
        if self.render_mode == "rgb_array":
            return self.game.render()
        return self.game.render_text() if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the game."""
        self.game.close()

    def _observations(self) -> dict[str, Any]:
        return observed(self.game)
