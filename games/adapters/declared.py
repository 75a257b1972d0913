"""What an environment says of itself beside its spaces: its pace, and when it ends at the latest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rollgym.games.adapters.options import MAX_FRAMES

DEFAULT_FPS = 30

FRAME_ATTRIBUTES = ("max_episode_steps", "_max_episode_steps", "max_cycles", "max_steps", "horizon", "episode_length")
"""Attributes by which environments say after how many steps an episode is over at the latest. The first wins, of the
innermost environment; a ``TimeLimit`` around it, or the limit it was registered with, is looked at as well, and of
all the smallest counts."""


def fps_of(env: Any) -> int:
    """``metadata["render_fps"]``, or :data:`DEFAULT_FPS` frames per second."""
    metadata = getattr(env, "metadata", None)
    fps = metadata.get("render_fps") if isinstance(metadata, Mapping) else None
    return int(fps) if isinstance(fps, int | float) and 1 <= fps <= 1000 else DEFAULT_FPS


def frames_of(env: Any) -> int | None:
    """After how many steps an episode of this environment is over at the latest, if it says so."""
    found = [steps for part in _wrapped(env) if (steps := _steps(part)) is not None]
    spec = getattr(env, "spec", None)
    if (registered := _positive(getattr(spec, "max_episode_steps", None))) is not None:
        found.append(registered)
    return min(found, default=None)


def _steps(env: Any) -> int | None:
    held = vars(env) if hasattr(env, "__dict__") else {}
    of_class = vars(type(env))
    for name in FRAME_ATTRIBUTES:
        if (steps := _positive(held.get(name, of_class.get(name)))) is not None:
            return steps
    return None


def _wrapped(env: Any) -> Iterator[Any]:
    seen: set[int] = set()
    while env is not None and id(env) not in seen:
        seen.add(id(env))
        yield env
        held = getattr(env, "__dict__", {})
        env = held.get("env", held.get("aec_env", held.get("par_env")))


def _positive(value: Any) -> int | None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return int(value) if whole and 1 <= value <= MAX_FRAMES else None
