"""The families of environments. To add one is to write a file with a ``KIND`` and to name it here."""

from __future__ import annotations

from typing import Any

from rollgym.games.adapters import aec_env, gymnasium_env, parallel_env
from rollgym.games.adapters.family import Family, FamilyKind
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.errors import GameError

FAMILIES: tuple[FamilyKind, ...] = (aec_env.KIND, parallel_env.KIND, gymnasium_env.KIND)
"""In the order in which they are asked: the first whose environment it is has it, by class before by looks."""


def kind_of(value: Any) -> FamilyKind | None:
    """The family that an object is an environment of, or None."""
    for kind in FAMILIES:
        if kind.is_one(value):
            return kind
    if not all(callable(getattr(value, name, None)) for name in ("reset", "step")):
        return None
    return next((kind for kind in FAMILIES if kind.looks_like_one(value)), None)


def family_of(env: Any, options: AdapterOptions) -> Family:
    """The environment as one of its family, which it belongs to from then on.

    Raises :class:`~rollgym.games.errors.GameError` for what is no environment, or one that cannot be played.
    """
    kind = kind_of(env)
    if options.wait and not (kind and kind.waits):
        raise GameError("adapter.wait", True, "an AEC environment: in others everybody acts in every frame")
    if kind is None:
        raise GameError("environment", type(env).__name__, "a gymnasium Env, a PettingZoo ParallelEnv or an AECEnv")
    return kind.make(env, options)
