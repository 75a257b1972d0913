"""What the three kinds of environment have in common, once each is driven in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from gymnasium import spaces

from rollgym.games.errors import GameError

Space: TypeAlias = spaces.Space[Any]

ABSENT: Any = object()
"""In place of the observation of an agent that is not (any more) there."""


class Turn(NamedTuple):
    """What one step gave, per agent in their fixed order. Nothing is copied or checked yet."""

    observations: Sequence[Any]
    rewards: Sequence[float]
    terminated: Sequence[bool]
    truncated: Sequence[bool]
    infos: Sequence[Any]


class Family(Protocol):
    """One environment and how it is driven.

    All attributes are part of what a snapshot reaches, so a family may keep what it needs between steps.
    """

    env: Any
    agents: tuple[str, ...]
    action_spaces: tuple[Space, ...]
    observation_spaces: tuple[Space, ...]
    idle: tuple[Any, ...] | None
    """What a player does who does nothing, per agent; None: zeros."""

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        """Start an episode. Observations and infos per agent."""

    def step(self, actions: Sequence[Any]) -> Turn:
        """One frame, an action per agent."""


def per_agent(value: Any, agents: tuple[str, ...], what: str) -> list[Any]:
    """A mapping by agent, a sequence in their order, or one value for all, as a list."""
    if isinstance(value, Mapping):
        missing = [agent for agent in agents if agent not in value]
        if missing and "__all__" not in value:
            raise GameError(what, f"a mapping without {', '.join(missing)}", "a value for every agent")
        return [value[agent] if agent in value else value["__all__"] for agent in agents]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) != len(agents):
            raise GameError(what, f"a sequence of {len(value)}", f"one value for each of {len(agents)} agents")
        return list(value)
    return [value] * len(agents)


def is_environment(value: Any) -> str | None:
    """``gymnasium``, ``parallel`` or ``aec``, or None if it is none of them.

    By class, or for wrappers and look-alikes by the methods: a parallel environment returns observations from
    ``reset``, an AEC one has ``agent_iter`` and ``last``.
    """
    names = {base.__name__ for base in type(value).__mro__ if base.__module__.startswith("pettingzoo")}
    if "AECEnv" in names:
        return "aec"
    if "ParallelEnv" in names:
        return "parallel"
    modules = {base.__module__ for base in type(value).__mro__ if base.__name__ == "Env"}
    if any(module.startswith("gymnasium") for module in modules):
        return "gymnasium"
    if not all(callable(getattr(value, name, None)) for name in ("reset", "step")):
        return None
    if callable(getattr(value, "agent_iter", None)) and callable(getattr(value, "last", None)):
        return "aec"
    if hasattr(value, "possible_agents"):
        return "parallel"
    return "gymnasium" if hasattr(value, "action_space") and hasattr(value, "observation_space") else None
