"""What the three kinds of environment have in common, once each is driven in its own way."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.errors import GameError

Space: TypeAlias = spaces.Space[Any]

ABSENT: Any = object()
"""In place of what an environment does not say of an agent: it stays as it was."""

OLD_API = (
    "the API of gymnasium 0.26 and later: reset(seed=..., options=...) returns (observation, info), step(action) "
    "returns (observation, reward, terminated, truncated, info); for an environment of before, add these to its class "
    "or wrap it (shimmy has wrappers for gym)"
)


class Turn(NamedTuple):
    """What one step gave, per agent in their fixed order. Nothing is copied or checked yet."""

    observations: Sequence[Any]
    rewards: Sequence[Any]
    terminated: Sequence[Any]
    truncated: Sequence[Any]
    infos: Sequence[Any]
    there: Sequence[bool]
    """Who takes part in the environment after the step. The episode is over when all of them are, or nobody does."""


class Family(Protocol):
    """One environment and how it is driven.

    All attributes are part of what a snapshot reaches, so a family may keep what it needs between steps.
    """

    env: Any
    keys: tuple[Hashable, ...]
    """What the environment calls its agents: texts, numbers, whatever stands in its mappings."""
    agents: tuple[str, ...]
    """The same as names: :func:`rollgym.games.recordable.names_of`."""
    action_spaces: tuple[Space, ...]
    observation_spaces: tuple[Space, ...]
    idle: tuple[Any, ...] | None
    """What a player does who does nothing, per agent; None: zeros."""
    unrecorded: set[str]
    """What the environment gave that has no place in the record."""

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        """Start an episode, ``0 <= seed < 2**31``. Observations and infos per agent; :data:`ABSENT` for who is not
        there. Raises :class:`~rollgym.games.errors.GameError` for what the environment should not have given."""

    def step(self, actions: Sequence[Any]) -> Turn:
        """One frame, an action per agent, a member of its space. Raises as :meth:`reset`."""

    def frames(self) -> int | None:
        """How many frames an episode has at most, as the environment says; None if it says nothing."""


class FamilyKind(NamedTuple):
    """What a family's file says of it: :mod:`rollgym.games.adapters.families` lists them."""

    is_one: Callable[[Any], bool]
    """Whether an object is an environment of this family by its class."""
    looks_like_one: Callable[[Any], bool]
    """Whether an object that has ``reset`` and ``step`` is one by what else it has, as wrappers and look-alikes are."""
    make: Callable[[Any, AdapterOptions], Family]
    """The family's object for an environment, which need not have been reset. Raises
    :class:`~rollgym.games.errors.GameError` for one that cannot be played."""
    waits: bool = False
    """Players may let a turn go by: the option ``wait``."""


def has_base(value: Any, name: str, package: str) -> bool:
    """Whether a class of this name, of a module below ``package``, is among the bases of an object's class."""
    return any(base.__name__ == name and base.__module__.startswith(package) for base in type(value).__mro__)


class Resetting:
    """Calls an environment's ``reset``, with a seed and the options that the ``adapter`` entry has."""

    def __init__(self, env: Any, options: Mapping[str, Any] | None) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` for a ``reset`` that takes no seed, or no options if any
        are given."""
        self._given: dict[str, Any] = {} if options is None else {"options": dict(options)}
        for holder in (env, getattr(env, "unwrapped", env)):
            missing = [name for name in ("seed", *self._given) if not _takes(getattr(holder, "reset", None), name)]
            if missing:
                raise GameError("reset", f"a method that takes no {' and no '.join(missing)}", OLD_API)

    def __call__(self, env: Any, seed: int) -> Any:
        with _seeded(seed):
            return env.reset(seed=seed, **self._given)


@contextlib.contextmanager
def _seeded(episode: int) -> Iterator[None]:
    """Generators that gymnasium is asked for without a seed get one that follows from the episode's.

    Some environments make their spaces anew in a reset, and sample from them.
    """
    original, made = seeding.np_random, itertools.count()

    def np_random(seed: int | None = None) -> tuple[np.random.Generator, int]:
        return original(seed if seed is not None else _derived(episode, next(made)))

    seeding.np_random = np_random
    try:
        yield
    finally:
        seeding.np_random = original


def _derived(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def _takes(method: Callable[..., Any] | None, name: str) -> bool:
    if method is None:
        return True
    try:
        parameters = inspect.signature(method).parameters
    except (TypeError, ValueError):  # some written in C do not tell
        return True
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def pair(given: Any) -> tuple[Any, Any]:
    """What ``reset`` gave. Raises :class:`~rollgym.games.errors.GameError` unless it is (observation, info)."""
    if not isinstance(given, tuple) or len(given) != 2:
        raise GameError("what reset returned", _counted(given), OLD_API)
    return given[0], given[1]


def five(given: Any) -> tuple[Any, Any, Any, Any, Any]:
    """What ``step`` gave. Raises :class:`~rollgym.games.errors.GameError` unless it is five values."""
    if not isinstance(given, tuple | list) or len(given) != 5:
        raise GameError("what step returned", _counted(given), OLD_API)
    return given[0], given[1], given[2], given[3], given[4]


def _counted(given: Any) -> str:
    kind = type(given).__name__
    return f"a {kind} of {len(given)} values" if isinstance(given, tuple | list) else f"a {kind}"


def per_agent(value: Any, keys: Sequence[Hashable], what: str) -> list[Any]:
    """A mapping by agent, a sequence in their order, or one value for all, as a list.

    In a mapping with ``__all__`` agents may be missing: they get :data:`ABSENT`.
    """
    if isinstance(value, Mapping):
        missing = [key for key in keys if key not in value]
        if missing and "__all__" not in value:
            raise GameError(what, f"a mapping without {', '.join(map(str, missing))}", "a value for every agent")
        return [value.get(key, ABSENT) for key in keys]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) != len(keys):
            raise GameError(what, f"a sequence of {len(value)}", f"one value for each of {len(keys)} agents")
        return list(value)
    return [value] * len(keys)
