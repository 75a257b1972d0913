"""Counters of a session, cheap enough to be always on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Statistics:
    """All counts are totals since the session began."""

    frames: int = 0
    """Frames simulated for the first time."""
    resimulated: int = 0
    """Frames simulated again by rollbacks, including those between a sparse snapshot and the rollback's target."""
    rollbacks: int = 0
    depths: Counter[int] = field(default_factory=Counter)
    """Rollback depth -> how often."""
    stalls: int = 0
    """Ticks at which the prediction window forbade a step. A session has no clock: whoever ticks counts them."""
    mispredictions: int = 0
    lag: int = 0
    """Frames the confirmed frame was behind the simulated one, summed over all frames."""

    @property
    def deepest(self) -> int:
        return max(self.depths, default=0)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for exports and reports."""
        return {
            "frames": self.frames,
            "resimulated_frames": self.resimulated,
            "rollbacks": self.rollbacks,
            "rollback_depth_max": self.deepest,
            "rollback_depth_histogram": {str(depth): self.depths[depth] for depth in sorted(self.depths)},
            "stalls": self.stalls,
            "mispredictions": self.mispredictions,
            "confirmation_lag_mean": self.lag / self.frames if self.frames else 0.0,
        }
