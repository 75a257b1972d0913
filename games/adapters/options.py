"""Settings of the adapter itself: the ``adapter`` entry among the parameters of a game from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollgym.games.errors import GameError

SNAPSHOTS = ("auto", "native", "copy", "replay")
MAX_FRAMES = 10_000_000


@dataclass(frozen=True)
class AdapterOptions:
    """How an environment is made into a game. The defaults suit most."""

    snapshot: str = "auto"
    """``native``: by ``get_state`` and ``set_state``; ``copy``: everything reachable; ``replay``: from the reset on;
    ``auto``: native if the environment has it, otherwise copy."""
    replay_limit: int = 600
    """Frames after which an episode is truncated, with ``replay``: what a load costs at most, in steps."""
    fps: int | None = None
    """Frames per second. None: ``metadata["render_fps"]``, otherwise 30."""
    idle: Any = None
    """The action of a player who does nothing: one for all, or a mapping by agent. None: zeros, or waiting."""
    wait: bool = False
    """AEC environments only: one more action lets the turn go by for a frame, and so does an illegal one."""
    reset_options: Mapping[str, Any] | None = None
    """What ``reset`` gets as its ``options``, in every episode. None: it gets none."""
    reward_weights: tuple[float, ...] | None = None
    """For rewards that are vectors: an agent's reward is the sum of its parts, each times its weight."""
    action_mask: bool = False
    """Observations get the ``action_mask`` of the infos: they become a mapping of it and ``observation``."""
    max_frames: int | None = None
    """After how many frames an episode is over at the latest, if the environment does not say so itself."""
    constant: tuple[str, ...] = ()
    """Paths of what never changes, such as ``env.planner``: no snapshot holds it, and every reset makes sure of it."""

    def __post_init__(self) -> None:
        if self.snapshot not in SNAPSHOTS:
            raise GameError("adapter.snapshot", self.snapshot, "one of " + ", ".join(SNAPSHOTS))
        _check_integer("adapter.replay_limit", self.replay_limit, 1, 1_000_000)
        for name in ("wait", "action_mask"):
            if not isinstance(getattr(self, name), bool):
                raise GameError(f"adapter.{name}", getattr(self, name), "true or false")
        if self.fps is not None:
            _check_integer("adapter.fps", self.fps, 1, 1000)
        if self.max_frames is not None:
            _check_integer("adapter.max_frames", self.max_frames, 1, MAX_FRAMES)
        options: Any = self.reset_options
        if options is not None and (not isinstance(options, Mapping) or any(type(key) is not str for key in options)):
            raise GameError("adapter.reset_options", options, "a mapping by name")
        paths: Any = self.constant
        if not isinstance(paths, list | tuple) or any(type(path) is not str for path in paths):
            raise GameError("adapter.constant", paths, "a list of paths, such as env.planner")
        if self.reward_weights is not None:
            _check_weights(self.reward_weights)

    @classmethod
    def of(cls, given: Any) -> AdapterOptions:
        """From a mapping of JSON values. Raises :class:`~rollgym.games.errors.GameError` naming what is wrong."""
        if not isinstance(given, Mapping):
            raise GameError("adapter", given, "a mapping")
        for name in given:
            if name not in cls.__dataclass_fields__:
                raise GameError(f"adapter.{name}", given[name], "one of " + ", ".join(cls.__dataclass_fields__))
        return cls(**given)


def _check_integer(field: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise GameError(field, value, f"an integer {low}..{high}")


def _check_weights(given: Any) -> None:
    numbers = isinstance(given, list | tuple) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight) for weight in given
    )
    if not numbers or not given:
        raise GameError("adapter.reward_weights", given, "a list of numbers, one for each part of a reward")
