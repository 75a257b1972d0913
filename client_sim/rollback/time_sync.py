"""Time synchronisation: two peers that both run at the nominal rate, and neither ahead of the other.

After GGPO's time sync and GGRS's: each side reports its frame advantage, how far its present frame is beyond the
newest frame it has heard of from the other. Half the difference of the two advantages is how far one is ahead.
With unequal latencies the balance point is where both predict equally many frames, which is the fair one.

Where GGPO makes the one ahead skip whole frames now and then, the frame period is stretched or shrunk by a few
percent here: steady, invisible, and without oscillation because the correction is proportional and slow against
the round trip.
"""

from __future__ import annotations

SMOOTHING = 0.1
"""Weight of the newest packet in the averages: jitter of some frames is averaged out within a quarter second."""

DEAD_ZONE = 0.5
"""Frames of imbalance that are left alone: below the resolution of whole frames."""

GAIN = 0.01
"""Share of a period per frame of imbalance. Both sides correct, so at 60 fps an imbalance decays in about 0.8 s,
slow against any playable round trip (a loop this slow cannot oscillate below a delay of 0.8 s x pi / 2)."""

SLOWEST, FASTEST = 1.10, 0.95
"""Bounds of the stretched period. The one ahead may yield more than the one behind may hurry."""


class TimeSync:
    """The imbalance with one other peer."""

    __slots__ = ("_heard", "local", "remote")

    def __init__(self) -> None:
        self.local = 0.0
        self.remote = 0.0
        self._heard = False

    def on_packet(self, local_advantage: float, remote_advantage: float) -> None:
        """A packet arrived: our frame minus the sender's, and the sender's own advantage as it reports it."""
        if not self._heard:
            self._heard = True
            self.local, self.remote = local_advantage, remote_advantage
            return
        self.local += SMOOTHING * (local_advantage - self.local)
        self.remote += SMOOTHING * (remote_advantage - self.remote)

    @property
    def ahead(self) -> float:
        """Frames this peer is ahead of the other (negative: behind)."""
        return (self.local - self.remote) / 2


def stretch(ahead: float) -> float:
    """The factor for the frame period of a peer that is ``ahead`` frames ahead."""
    if -DEAD_ZONE < ahead < DEAD_ZONE:
        return 1.0
    return min(SLOWEST, max(FASTEST, 1.0 + GAIN * ahead))
