"""What comes of a simulated match."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rollgym.client_sim.peer.events import DesyncFound, MatchEnded, PeerEvent
from rollgym.protocol.episode.export import Export


class SimulationStuck(Exception):
    """The match did not end in time; says where each peer stood."""


@dataclass
class PlayerResult:
    """What one peer had at the end."""

    exports: list[Export] = field(default_factory=list)
    events: list[PeerEvent] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    refused: int = 0
    refusals: list[str] = field(default_factory=list)
    packets_sent: int = 0
    bytes_sent: int = 0
    failure: BaseException | None = None
    """What its game or its policy raised."""

    @property
    def desyncs(self) -> list[DesyncFound]:
        return [event for event in self.events if isinstance(event, DesyncFound)]

    @property
    def ended(self) -> str | None:
        """The reason the match ended here, or None if it did not."""
        return next((event.reason for event in self.events if isinstance(event, MatchEnded)), None)


@dataclass
class SimulationResult:
    """The whole match. ``trace`` is a digest of every packet's sending and arrival and of every event."""

    players: list[PlayerResult]
    seconds: float
    """Virtual time at the end."""
    trace: str
    events: int
    """Simulator events handled."""
