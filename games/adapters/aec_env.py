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

from rollgym.games.adapters.declared import frames_of
from rollgym.games.adapters.family import ABSENT, FamilyKind, Resetting, Space, Turn, has_base
from rollgym.games.adapters.infos import shared_out
from rollgym.games.adapters.parallel_env import check_agents, check_start, spaces_of
from rollgym.games.errors import GameError
from rollgym.games.recordable import names_of

IGNORED = "ignored"


class AecFamily:
    """Drives a ``pettingzoo.AECEnv``.

    With ``wait`` the actions must be ``Discrete(n)``; action ``n`` is waiting, and so is one that the ``action_mask``
    of the observation or the info forbids.
    """

    def __init__(self, env: Any, wait: bool = False, reset_options: Mapping[str, Any] | None = None) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` for spaces that cannot be played."""
        self.env = env
        # A predicted move is often illegal, and taken back: not worth a warning each time.
        logging.getLogger("pettingzoo.utils.env_logger").setLevel(logging.ERROR)
        self.unrecorded: set[str] = set()
        self._reset = Resetting(env, reset_options)
        self.keys, self.action_spaces, self.observation_spaces = spaces_of(env, self._reset)
        self.agents = names_of(self.keys, "possible_agents")
        self.idle: tuple[Any, ...] | None = None
        if wait:
            waiting = [_with_waiting(space) for space in self.action_spaces]
            self.action_spaces = tuple(waiting)
            self.idle = tuple(int(space.start) + int(space.n) - 1 for space in waiting)

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        self._reset(self.env, seed)
        check_start(self.env, self.keys)
        return self._observed(), self._infos()

    def step(self, actions: Sequence[Any]) -> Turn:
        env = self.env
        turn = self.keys.index(env.agent_selection)
        everybody = range(len(self.keys))
        if self.idle is not None and not self._is_move(turn, actions[turn]):
            nothing = [ABSENT] * len(self.keys)
            return Turn(
                nothing, [0.0] * len(self.keys), nothing, nothing, self._infos(*everybody), self._there(env.agents)
            )
        env.step(actions[turn])
        check_agents(env, self.keys)
        terminated, truncated = env.terminations, env.truncations
        result = Turn(
            self._observed(),
            [env.rewards.get(key, 0.0) for key in self.keys],
            [terminated.get(key, ABSENT) for key in self.keys],
            [truncated.get(key, ABSENT) for key in self.keys],
            self._infos(*(other for other in everybody if other != turn)),
            (),
        )
        self._take_leave()
        return result._replace(there=self._there(env.agents))

    def frames(self) -> int | None:
        """Environments count rounds; how often somebody waits is not known."""
        rounds = frames_of(self.env)
        return None if rounds is None or self.idle is not None else rounds * len(self.agents)

    def _take_leave(self) -> None:
        """Whoever is over makes its last, empty step, and is gone."""
        env = self.env
        while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
            before = len(env.agents)
            env.step(None)
            if len(env.agents) >= before:
                expected = "one agent less after step(None) of an agent that is over"
                raise GameError("agents", list(env.agents), expected)

    def _is_move(self, turn: int, action: int) -> bool:
        assert self.idle is not None
        if action == self.idle[turn]:
            return False
        key = self.keys[turn]
        for source in (self.env.observe(key), self.env.infos.get(key)):
            if isinstance(source, Mapping) and "action_mask" in source:
                return bool(source["action_mask"][action - int(self.action_spaces[turn].start)])  # type: ignore[attr-defined]
        return True

    def _there(self, agents: Sequence[Any]) -> list[bool]:
        return [key in agents for key in self.keys]

    def _observed(self) -> list[Any]:
        return [
            self.env.observe(key) if here else ABSENT
            for key, here in zip(self.keys, self._there(self.env.agents), strict=True)
        ]

    def _infos(self, *ignored: int) -> list[Any]:
        shared: list[Any] = shared_out(self.env.infos, self.keys, self.agents, self.unrecorded)
        for index in ignored:
            if IGNORED in (shared[index] or ()):
                self.unrecorded.add(f"{IGNORED} of the environment (the adapter says so itself)")
            shared[index] = {**(shared[index] or {}), IGNORED: True}
        return shared


def _with_waiting(space: Space) -> spaces.Discrete:
    if not isinstance(space, spaces.Discrete):
        raise GameError("adapter.wait", str(space), "Discrete actions: one more of them is waiting")
    return spaces.Discrete(int(space.n) + 1, start=int(space.start))


KIND = FamilyKind(
    is_one=lambda env: has_base(env, "AECEnv", "pettingzoo"),
    looks_like_one=lambda env: all(callable(getattr(env, name, None)) for name in ("agent_iter", "last")),
    make=lambda env, options: AecFamily(env, options.wait, options.reset_options),
    waits=True,
)
