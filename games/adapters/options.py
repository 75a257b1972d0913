"""Settings of the adapter itself: the ``adapter`` entry among the parameters of a game from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollgym.games.errors import GameError

SNAPSHOTS = ("auto", "native", "copy", "replay")


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

    def __post_init__(self) -> None:
        if self.snapshot not in SNAPSHOTS:
            raise GameError("adapter.snapshot", self.snapshot, "one of " + ", ".join(SNAPSHOTS))
        _check_integer("adapter.replay_limit", self.replay_limit, 1, 1_000_000)
        if not isinstance(self.wait, bool):
            raise GameError("adapter.wait", self.wait, "true or false")
        if self.fps is not None:
            _check_integer("adapter.fps", self.fps, 1, 1000)

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
