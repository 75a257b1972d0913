"""Gymnasium environments whose action and observation spaces are a ``Dict`` or a ``Tuple`` with one part per agent.

Rewards per agent: a mapping or a sequence in the place of the reward, or a mapping in ``info["rewards"]`` whose keys
are exactly the agents. A single number is a team reward: each agent gets it, whole. Ends per agent may be mappings or
sequences, and say who is over after this step; a single flag counts for all. In a mapping with ``"__all__"`` agents
may be missing: they stay as they were. Infos: :func:`rollgym.games.adapters.infos.shared_out`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.adapters.declared import frames_of
from rollgym.games.adapters.family import (
    ABSENT,
    OLD_API,
    FamilyKind,
    Resetting,
    Space,
    Turn,
    five,
    has_base,
    pair,
    per_agent,
)
from rollgym.games.adapters.infos import shared_out
from rollgym.games.errors import GameError
from rollgym.games.recordable import names_of
from rollgym.games.spaces.exact import exact_flag

_ALL = "__all__"


class GymnasiumFamily:
    """Drives a ``gymnasium.Env``."""

    def __init__(self, env: Any, reset_options: Mapping[str, Any] | None = None, weights: int = 0) -> None:
        """``weights``: how many parts a vector reward has, 0 for none.

        Raises :class:`~rollgym.games.errors.GameError` if the spaces are not per agent.
        """
        self.env = env
        self.idle: tuple[Any, ...] | None = None
        self.unrecorded: set[str] = set()
        self._weights = weights
        self._reset = Resetting(env, reset_options)
        if getattr(env, "action_space", None) is None or getattr(env, "observation_space", None) is None:
            # Some know their spaces only then.
            self._reset(env, 0)
        actions, seen = getattr(env, "action_space", None), getattr(env, "observation_space", None)
        expected = "Dict or Tuple spaces with one part per agent, for actions and observations alike"
        if not isinstance(actions, spaces.Dict | spaces.Tuple) or len(actions.spaces) < 1:
            raise GameError("action_space", str(actions), expected)
        self._named = isinstance(actions, spaces.Dict)
        if not isinstance(seen, spaces.Dict if self._named else spaces.Tuple):
            raise GameError("observation_space", str(seen), expected)
        self.keys, self.action_spaces = _parts(actions)
        keys, self.observation_spaces = _parts(seen)
        if set(keys) != set(self.keys):
            raise GameError("observation_space", ", ".join(map(str, keys)), f"the agents {self._listed()}")
        by_key = dict(zip(keys, self.observation_spaces, strict=True))
        self.observation_spaces = tuple(by_key[key] for key in self.keys)
        self.agents = names_of(self.keys, "action_space")

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        observations, info = pair(self._reset(self.env, seed))
        return self._observed(observations, missing=False, after="reset"), self._infos(info)

    def frames(self) -> int | None:
        return frames_of(self.env)

    def step(self, actions: Sequence[Any]) -> Turn:
        joint = dict(zip(self.keys, actions, strict=True)) if self._named else tuple(actions)
        observations, reward, terminated, truncated, info = five(self.env.step(joint))
        if isinstance(info, Mapping) and self._are_rewards(info.get("rewards")):
            info = dict(info)
            reward = info.pop("rewards")
        missing = any(isinstance(flags, Mapping) and _ALL in flags for flags in (terminated, truncated))
        return Turn(
            self._observed(observations, missing, after="step"),
            self._rewards(reward, missing),
            self._flags(terminated, "terminated"),
            self._flags(truncated, "truncated"),
            self._infos(info),
            [True] * len(self.keys),
        )

    def _are_rewards(self, given: Any) -> bool:
        return isinstance(given, Mapping) and set(given) == set(self.keys)

    def _rewards(self, reward: Any, missing: bool) -> list[Any]:
        if self._weights and not isinstance(reward, Mapping) and np.shape(reward) == (self._weights,):
            return [reward] * len(self.keys)
        if missing and isinstance(reward, Mapping):
            return [reward.get(key, 0.0) for key in self.keys]
        return per_agent(reward, self.keys, "rewards")

    def _flags(self, given: Any, what: str) -> list[Any]:
        if isinstance(given, Mapping) and _ALL in given and exact_flag(f"{what} of {_ALL}", given[_ALL]):
            return [True] * len(self.keys)
        return per_agent(given, self.keys, what)

    def _observed(self, observations: Any, missing: bool, after: str) -> list[Any]:
        if self._named:
            if not isinstance(observations, Mapping):
                raise GameError(f"observations of {after}", f"a {type(observations).__name__}", self._wanted())
            lacking = [str(key) for key in self.keys if key not in observations]
            strange = [str(key) for key in observations if key not in self.keys]
            if strange or (lacking and not missing):
                what = f"a mapping without {', '.join(lacking)}" if lacking else f"a mapping with {', '.join(strange)}"
                raise GameError(f"observations of {after}", what, f"one for each of {self._listed()}")
            return [observations.get(key, ABSENT) for key in self.keys]
        if not isinstance(observations, tuple | list) or len(observations) != len(self.keys):
            count = f" of {len(observations)}" if isinstance(observations, tuple | list) else ""
            given = f"a {type(observations).__name__}{count}"
            raise GameError(f"observations of {after}", given, self._wanted())
        return list(observations)

    def _wanted(self) -> str:
        kind = "a mapping with" if self._named else "a tuple with one for each of"
        return f"{kind} {self._listed()}; and " + OLD_API

    def _infos(self, info: Any) -> list[Any]:
        return shared_out(info, self.keys, self.agents, self.unrecorded)

    def _listed(self) -> str:
        return ", ".join(map(str, self.keys))


def _parts(space: spaces.Dict[Any] | spaces.Tuple[Any]) -> tuple[tuple[Hashable, ...], tuple[Space, ...]]:
    if isinstance(space, spaces.Dict):
        return tuple(space.spaces), tuple(space.spaces.values())
    return tuple(f"agent_{index}" for index in range(len(space.spaces))), tuple(space.spaces)


KIND = FamilyKind(
    is_one=lambda env: has_base(env, "Env", "gymnasium"),
    looks_like_one=lambda env: hasattr(env, "action_space") and hasattr(env, "observation_space"),
    make=lambda env, options: GymnasiumFamily(env, options.reset_options, len(options.reward_weights or ())),
)
