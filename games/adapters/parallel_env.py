"""PettingZoo parallel environments.

An agent that is out keeps its last observation, gets no reward, and its flag stays; what its player presses is
ignored. It may come back. An agent that is not there at the start sees zeros. The episode is over when the
environment's ``agents`` is empty, or when all who are in it are terminated or truncated.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from rollgym.games.adapters.declared import frames_of
from rollgym.games.adapters.family import ABSENT, OLD_API, FamilyKind, Resetting, Space, Turn, five, has_base, pair
from rollgym.games.adapters.infos import shared_out
from rollgym.games.errors import GameError
from rollgym.games.recordable import names_of
from rollgym.games.spaces.exact import exact_flag


class ParallelFamily:
    """Drives a ``pettingzoo.ParallelEnv``."""

    def __init__(self, env: Any, reset_options: Mapping[str, Any] | None = None) -> None:
        self.env = env
        self.idle: tuple[Any, ...] | None = None
        self.unrecorded: set[str] = set()
        self._reset = Resetting(env, reset_options)
        self.keys, self.action_spaces, self.observation_spaces = spaces_of(env, self._reset)
        self.agents = names_of(self.keys, "possible_agents")

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        observations, infos = pair(self._reset(self.env, seed))
        check_start(self.env, self.keys)
        _mapping("observations", observations, self.keys)
        return [observations.get(key, ABSENT) for key in self.keys], self._infos(infos)

    def step(self, actions: Sequence[Any]) -> Turn:
        before = set(self.env.agents)
        joint = {key: action for key, action in zip(self.keys, actions, strict=True) if key in before}
        observations, rewards, terminated, truncated, infos = five(self.env.step(joint))
        check_agents(self.env, self.keys)
        for what, given in (
            ("observations", observations),
            ("rewards", rewards),
            ("terminations", terminated),
            ("truncations", truncated),
        ):
            _mapping(what, given, self.keys)
        after = set(self.env.agents)
        ends = [_ends(key, terminated, truncated, before, after) for key in self.keys]
        return Turn(
            [observations.get(key, ABSENT) for key in self.keys],
            [rewards.get(key, 0.0) for key in self.keys],
            [one for one, _ in ends],
            [other for _, other in ends],
            self._infos(infos),
            [key in after for key in self.keys],
        )

    def frames(self) -> int | None:
        return frames_of(self.env)

    def _infos(self, infos: Any) -> Sequence[Any]:
        return shared_out(infos, self.keys, self.agents, self.unrecorded)


def _ends(
    key: Hashable,
    terminated: Mapping[Any, Any],
    truncated: Mapping[Any, Any],
    before: set[Hashable],
    after: set[Hashable],
) -> tuple[Any, Any]:
    """Whether an agent is terminated and truncated."""
    flags = (
        exact_flag(f"termination of {key}", terminated.get(key, False)),
        exact_flag(f"truncation of {key}", truncated.get(key, False)),
    )
    if any(flags):
        return flags
    if key in after:
        said = key in terminated or key in truncated or key not in before
        return flags if said else (ABSENT, ABSENT)
    # Environments may empty `agents` at the end without flagging those who were still there.
    return (False, True) if key in before else (ABSENT, ABSENT)


def _mapping(what: str, given: Any, keys: Sequence[Hashable]) -> None:
    if not isinstance(given, Mapping):
        raise GameError(what, f"a {type(given).__name__}", f"a mapping by agent: {OLD_API}")
    strange = [key for key in given if key not in keys and key != "__all__"]
    if strange:
        raise GameError(what, strange, f"agents among {', '.join(map(str, keys))}")


def check_agents(env: Any, keys: Sequence[Hashable]) -> None:
    """Raises :class:`~rollgym.games.errors.GameError` if agents are there that were not announced."""
    if env.agents is None:
        raise GameError("agents", None, "a list of those who are there")
    strange = [key for key in env.agents if key not in keys]
    if strange:
        raise GameError("agents", strange, f"agents among the possible ones: {', '.join(map(str, keys))}")


def check_start(env: Any, keys: Sequence[Hashable]) -> None:
    """:func:`check_agents`, after a reset: somebody has to be there."""
    check_agents(env, keys)
    if not env.agents:
        raise GameError("agents", list(env.agents), "at least one agent after a reset")


def spaces_of(env: Any, reset: Resetting) -> tuple[tuple[Hashable, ...], tuple[Space, ...], tuple[Space, ...]]:
    """The possible agents of a PettingZoo environment, and their action and observation spaces.

    Some say so only after a first reset: then the environment is reset once, with seed 0.
    """
    try:
        found = _spaces(env)
    except GameError:
        raise
    except Exception:  # noqa: BLE001 - what an environment raises that is asked too early is its own
        found = None
    if found is None:
        reset(env, 0)
        found = _spaces(env)
    if found is None:
        expected = "all agents that can ever be there, and a space for each, known after the first reset at the latest"
        raise GameError("possible_agents", getattr(env, "possible_agents", None), expected)
    return found


def _spaces(env: Any) -> tuple[tuple[Hashable, ...], tuple[Space, ...], tuple[Space, ...]] | None:
    keys = tuple(getattr(env, "possible_agents", None) or ())
    actions = tuple(env.action_space(key) for key in keys)
    seen = tuple(env.observation_space(key) for key in keys)
    return None if not keys or None in actions or None in seen else (keys, actions, seen)


KIND = FamilyKind(
    is_one=lambda env: has_base(env, "ParallelEnv", "pettingzoo"),
    looks_like_one=lambda env: hasattr(env, "possible_agents"),
    make=lambda env, options: ParallelFamily(env, options.reset_options),
)
