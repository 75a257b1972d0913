"""multigrid's grid worlds, made fit to be played again: all their chance comes from the seed."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

_MISSION = "mission"


class SeededMultiGrid(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A level for some agents, which are called 0, 1 and so on. ``level`` is an id that the package registers.

    Its mission is a text: it is no observation (texts have no column) but the same for everybody in an episode, and
    stands in the info of the reset.
    """

    def __init__(self, level: str, agents: int, max_steps: int, render_mode: str | None = None) -> None:
        import multigrid.envs  # noqa: F401 - registers its ids
        from multigrid.core.constants import Color
        from multigrid.core.world_object import Wall, WorldObj

        # All walls of a process are one object, which notes its type when somebody first asks: no part of an episode.
        for shared in (WorldObj.empty(), Wall(), *(Wall(color) for color in Color)):
            _ = shared.type
        made = gymnasium.make(
            level, agents=agents, max_steps=max_steps, render_mode=render_mode, disable_env_checker=True
        )
        super().__init__(made.unwrapped)
        seen: Any = self.env.observation_space
        self.observation_space = spaces.Dict(
            [(key, spaces.Dict([(k, s) for k, s in part.items() if k != _MISSION])) for key, part in seen.items()]
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[Any, Any]]:
        """Start an episode."""
        # What places the objects is a generator of its own, which the package's reset does not seed.
        vars(self.env)["_RandomMixin__np_random"] = np.random.default_rng(seed)
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._without_mission(observations), {**infos, _MISSION: str(self.get_wrapper_attr("mission"))}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[Any, Any]]:
        """All act, in an order that chance decides."""
        observations, rewards, terminated, truncated, infos = self.env.step(action)
        return self._without_mission(observations), rewards, terminated, truncated, dict(infos)

    def _without_mission(self, observations: Any) -> Any:
        return {key: {k: v for k, v in part.items() if k != _MISSION} for key, part in observations.items()}
