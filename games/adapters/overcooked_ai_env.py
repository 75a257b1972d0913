"""overcooked_ai, the reference game of work on people and agents together, as a PettingZoo parallel environment.

The package is of 2021 and asks numpy for names that it has no more; its modules get them, and nobody else does.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

_FORMER = {"Inf": np.inf, "int": int, "float": float, "bool": bool}
_PLAYERS = ("player_0", "player_1")


class OvercookedAi(ParallelEnv):  # type: ignore[misc]
    """Two cooks in a kitchen, for ``horizon`` steps. ``layout`` is a name of the package's.

    Actions: up, down, right, left, stay, interact. Each sees the package's lossless encoding, itself first: layers
    over the kitchen. Both get the reward of a delivered soup; who earned it, and the rewards of shaping, are in the
    infos.
    """

    metadata = {"name": "overcooked_ai", "render_modes": ["ansi"]}  # noqa: RUF012 - PettingZoo's own form

    def __init__(self, layout: str, horizon: int, render_mode: str | None = None) -> None:
        grid_world, environment, actions = _package()
        self.render_mode = render_mode
        self.horizon = horizon
        self.possible_agents = list(_PLAYERS)
        self.agents: list[str] = []
        self._actions = list(actions.ALL_ACTIONS)
        self._mdp = grid_world.from_layout_name(layout)
        self._kitchen = environment.from_mdp(self._mdp, horizon=horizon, info_level=0)
        # Only the distances of a shaped potential need a planner, which takes seconds and is kept on the disk.
        self._kitchen._mp = _NO_PLANNER
        shape = tuple(int(n) for n in self._mdp.get_lossless_state_encoding_shape())
        self._seen = spaces.Box(0, 255, shape, np.int16)
        self._moves = spaces.Discrete(len(self._actions))

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return self._seen

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self._moves

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Start an episode. Nothing in it is left to chance."""
        self._kitchen.reset(regen_mdp=False)
        self.agents = list(_PLAYERS)
        return self._observed(), {agent: {} for agent in _PLAYERS}

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Both act."""
        joint = tuple(self._actions[int(actions[agent])] for agent in _PLAYERS)
        _, reward, over, info = self._kitchen.step(joint)
        infos = {
            agent: {
                "sparse_reward": float(info["sparse_r_by_agent"][index]),
                "shaped_reward": float(info["shaped_r_by_agent"][index]),
            }
            for index, agent in enumerate(_PLAYERS)
        }
        self.agents = [] if over else list(_PLAYERS)
        return (
            self._observed(),
            dict.fromkeys(_PLAYERS, float(reward)),
            dict.fromkeys(_PLAYERS, False),
            dict.fromkeys(_PLAYERS, bool(over)),
            infos,
        )

    def render(self) -> str | None:
        """The kitchen as text."""
        return str(self._kitchen) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Nothing is held."""

    def _observed(self) -> dict[str, NDArray[Any]]:
        layers = self._kitchen.lossless_state_encoding_mdp(self._kitchen.state)
        return dict(zip(_PLAYERS, layers, strict=True))


_NO_PLANNER = "none: no potential is asked for"


def _package() -> tuple[Any, Any, Any]:
    """The grid world, its environment and its actions."""
    with _former_names():
        from overcooked_ai_py.mdp.actions import Action
        from overcooked_ai_py.mdp.overcooked_env import OvercookedEnv
        from overcooked_ai_py.mdp.overcooked_mdp import OvercookedGridworld
    return OvercookedGridworld, OvercookedEnv, Action


@contextlib.contextmanager
def _former_names() -> Iterator[None]:
    """While the package is imported numpy has its former names; from then on a numpy of the package's own has them."""
    if "overcooked_ai_py.mdp.overcooked_env" in sys.modules:
        yield
        return
    added = [name for name in _FORMER if name not in vars(np)]
    for name in added:
        setattr(np, name, _FORMER[name])
    try:
        yield
    finally:
        for name in added:
            delattr(np, name)
    for name, module in list(sys.modules.items()):
        if name.startswith("overcooked_ai_py") and getattr(module, "np", None) is np:
            vars(module)["np"] = _Numpy()


class _Numpy(ModuleType):
    """numpy, with its former names."""

    def __init__(self) -> None:
        super().__init__("numpy")

    def __getattr__(self, name: str) -> Any:
        return _FORMER[name] if name in _FORMER and name != "bool" else getattr(np, name)
