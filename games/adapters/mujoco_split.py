"""One MuJoCo robot driven by two players: each holds some of its joints."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.errors import GameError

PARTS = {
    "HalfCheetah-v5": {"back": (0, 1, 2), "front": (3, 4, 5)},
    "Walker2d-v5": {"right": (0, 1, 2), "left": (3, 4, 5)},
}
"""Which actuators belong to whom."""


class SplitRobot(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """Both players see the whole robot; the reward is the robot's, for the team."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, robot: str = "HalfCheetah-v5", max_steps: int = 1000, render_mode: str | None = None) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` for a robot that is not in :data:`PARTS`."""
        if robot not in PARTS:
            raise GameError("robot", robot, "one of " + ", ".join(PARTS))
        self.env = quietly_made(robot, max_steps, render_mode)
        self.render_mode = render_mode
        self._parts = PARTS[robot]
        whole = self.env.action_space
        assert isinstance(whole, spaces.Box)
        seen = self.env.observation_space
        self.action_space = spaces.Dict(
            {
                name: spaces.Box(whole.low[list(joints)], whole.high[list(joints)], dtype=np.float32)
                for name, joints in self._parts.items()
            }
        )
        self.observation_space = spaces.Dict(dict.fromkeys(self._parts, seen))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        seen, info = self.env.reset(seed=seed, options=options)
        return dict.fromkeys(self._parts, seen), info

    def step(self, action: dict[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One step of the robot under both players' torques."""
        torques = np.zeros(sum(map(len, self._parts.values())), np.float32)
        for name, joints in self._parts.items():
            torques[list(joints)] = action[name]
        seen, reward, terminated, truncated, info = self.env.step(torques)
        return dict.fromkeys(self._parts, seen), float(reward), terminated, truncated, info

    def render(self) -> NDArray[np.uint8]:
        """The robot's picture."""
        picture: Any = self.env.render()
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Close the robot."""
        self.env.close()


def quietly_made(robot: str, max_steps: int, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """Compiling these models warns that they are old: on stderr, and in a file in the current folder."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        return gymnasium.make(robot, max_episode_steps=max_steps, render_mode=render_mode, disable_env_checker=True)
    finally:
        mujoco.set_mju_user_warning(before)
