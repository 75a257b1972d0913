"""A game as a gymnasium environment, for whoever wants to train on it or look at it without any peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.errors import GameError
from rollgym.games.registry import make

JointObservation = dict[str, Any]
JointAction = dict[str, Any]
REWARDS = "rewards"
"""The key of the info under which each agent's own reward stands."""


class GameEnv(gymnasium.Env[JointObservation, JointAction]):
    """All players of a game at once. NPCs belong to the environment: they are neither asked nor reported.

    Observations and actions are dicts by agent name, in ``Dict`` spaces. Gymnasium knows one reward: it is the sum
    over the agents; each agent's own is in ``info["rewards"]``, and its info in ``info[agent]``. The episode is
    terminated when all agents are, truncated when it ends otherwise.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 60}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, game_id: str | None = None, render_mode: str | None = None, **parameters: Any) -> None:
        """Make a game by name. Raises :class:`~rollgym.games.errors.GameError` for what the game refuses."""
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise GameError("render_mode", render_mode, "None, rgb_array or ansi")
        if game_id is None:
            raise GameError("game_id", game_id, "the name of a game")
        self._start(make(game_id, parameters), render_mode)

    @classmethod
    def of(cls, game: Game, render_mode: str | None = None) -> GameEnv:
        """An environment over a game that exists already. The game belongs to the environment from then on."""
        env = cls.__new__(cls)
        env._start(game, render_mode)
        return env

    def _start(self, game: Game, render_mode: str | None) -> None:
        spec = game.spec
        if REWARDS in spec.agents:
            raise GameError(
                "agents", spec.agents, f"agents that are not called {REWARDS}: the info has another use of it"
            )
        self.game = game
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "render_fps": spec.fps}
        self.action_space = spaces.Dict(self._by_agent(spec.action_spaces))
        self.observation_space = spaces.Dict(self._by_agent(spec.observation_spaces))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[JointObservation, dict[str, Any]]:
        """Start an episode. Without a seed it is drawn from ``np_random``. There are no options.

        Raises :class:`~rollgym.games.errors.GameError` for a seed beyond ``2**63 - 1``.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**63 - 1))
        elif seed >= 2**63:
            raise GameError("seed", seed, "an integer below 2**63")
        infos = self.game.reset(seed)
        return self._observations(), self._by_agent(tuple(dict(i) for i in infos))

    def step(self, action: JointAction) -> tuple[JointObservation, float, bool, bool, dict[str, Any]]:
        """One frame. Raises :class:`~rollgym.games.spaces.codec.CodecError` for an action outside its space."""
        outcome = self.game.step(encode_joint(self.game, action))
        info = self._by_agent(tuple(dict(i) for i in outcome.infos))
        info[REWARDS] = self._by_agent(outcome.rewards)
        terminated = all(outcome.terminated)
        reward = float(sum(info[REWARDS].values()))
        return self._observations(), reward, terminated, outcome.terminal and not terminated, info

    def render(self) -> NDArray[np.uint8] | str | None:
        """The present state in the form of the render mode."""
        if self.render_mode == "rgb_array":
            return self.game.render()
        return self.game.render_text() if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the game."""
        self.game.close()

    def _observations(self) -> JointObservation:
        return observed(self.game)

    def _by_agent(self, values: Sequence[Any]) -> dict[str, Any]:
        return by_agent(self.game.spec, values)


def by_agent(spec: GameSpec, values: Sequence[Any]) -> dict[str, Any]:
    """What is given per agent, by the names of those that have a player."""
    return {spec.agents[agent]: values[agent] for agent in spec.seats}


def observed(game: Game) -> JointObservation:
    """What the players see, by agent name. Plain dicts: checkers compare an observation with its copy by type, too."""
    return {name: dict(o) if isinstance(o, dict) else o for name, o in by_agent(game.spec, game.observe()).items()}


def encode_joint(game: Game, actions: Any) -> JointInput:
    """A dict of actions by agent name as the joint input of a step.

    Raises :class:`~rollgym.games.errors.GameError` if an agent is missing or unknown,
    :class:`~rollgym.games.spaces.codec.CodecError` for
    an action outside its space.
    """
    spec = game.spec
    names = [spec.agents[agent] for agent in spec.seats]
    if not isinstance(actions, dict) or actions.keys() != set(names):
        raise GameError("actions", actions, "one action for each of " + ", ".join(names))
    return tuple(codec.encode(actions[name]) for codec, name in zip(spec.input_codecs, names, strict=True))


def flags(game: Game, outcome: Outcome) -> tuple[dict[str, bool], dict[str, bool]]:
    """Terminations and truncations by agent name."""
    return by_agent(game.spec, outcome.terminated), by_agent(game.spec, outcome.truncated)
