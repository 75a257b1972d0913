"""PettingZoo AEC environments: one agent acts per frame, in the order that the environment says.

The inputs of the players whose turn it is not are ignored; their infos say so (``ignored: True``). Everybody is
observed in every frame, at once, because observing may change a wrapper's state, and everybody gets the rewards that
the move gave. Agents that are over leave the environment within the frame in which they end.

With ``wait`` a player may also let its turn go by for a frame. That suits frames that come whether or not somebody has
thought of a move, and it suits prediction: a guessed move is often illegal, and would end the game until it is undone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from gymnasium import spaces

from rollgym.games.adapters.family import ABSENT, Space, Turn
from rollgym.games.adapters.parallel_env import spaces_of
from rollgym.games.errors import GameError


class AecFamily:
    """Drives a ``pettingzoo.AECEnv``.

    With ``wait`` the actions must be ``Discrete(n)``; action ``n`` is waiting, and so is one that the ``action_mask``
    of the observation or the info forbids.
    """

    def __init__(self, env: Any, wait: bool = False) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` for spaces that can not be played."""
        self.env = env
        # A predicted move is often illegal, and taken back: not worth a warning each time.
        logging.getLogger("pettingzoo.utils.env_logger").setLevel(logging.ERROR)
        self.agents, self.action_spaces, self.observation_spaces = spaces_of(env)
        self.idle: tuple[Any, ...] | None = None
        if wait:
            waiting = [_with_waiting(space) for space in self.action_spaces]
            self.action_spaces = tuple(waiting)
            self.idle = tuple(int(space.start) + int(space.n) - 1 for space in waiting)

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        self.env.reset(seed=seed)
        return self._observed(), [self.env.infos.get(agent) for agent in self.agents]

    def step(self, actions: Sequence[Any]) -> Turn:
        env = self.env
        turn = self.agents.index(env.agent_selection)
        if self.idle is not None and not self._is_move(turn, actions[turn]):
            nobody = [False] * len(self.agents)
            infos = [{**(env.infos.get(agent) or {}), "ignored": True} for agent in self.agents]
            return Turn([ABSENT] * len(self.agents), [0.0] * len(self.agents), nobody, nobody, infos)
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

    def _is_move(self, turn: int, action: int) -> bool:
        assert self.idle is not None
        if action == self.idle[turn]:
            return False
        agent = self.agents[turn]
        for source in (self.env.observe(agent), self.env.infos.get(agent)):
            if isinstance(source, Mapping) and "action_mask" in source:
                return bool(source["action_mask"][action - int(self.action_spaces[turn].start)])  # type: ignore[attr-defined]
        return True

    def _observed(self) -> list[Any]:
        there = set(self.env.agents)
        return [self.env.observe(agent) if agent in there else ABSENT for agent in self.agents]


def _with_waiting(space: Space) -> spaces.Discrete:
    if not isinstance(space, spaces.Discrete):
        raise GameError("adapter.wait", str(space), "Discrete actions: one more of them is waiting")
    return spaces.Discrete(int(space.n) + 1, start=int(space.start))
