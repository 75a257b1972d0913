"""Small stand-ins with the methods of a peer and of a transport."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rollgym.client_sim.transport.interface import OnLost, OnPacket, TransportError
from rollgym.protocol.episode.export import Export


class Hub:
    """Joins memory transports; each delivers at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.members: dict[int, MemoryTransport] = {}

    def transport(self, player: int) -> MemoryTransport:
        return MemoryTransport(self, player)


class MemoryTransport:
    def __init__(self, hub: Hub, player: int) -> None:
        self.hub = hub
        self.player = player
        self.sent: list[tuple[float, int, bytes]] = []
        self.on_packet: OnPacket | None = None
        self.on_lost: OnLost | None = None
        self.closed_with: float | None = None
        self.refuse: str | None = None

    async def open(self, on_packet: OnPacket, on_lost: OnLost) -> None:
        if self.refuse is not None:
            raise TransportError("memory:", self.refuse)
        self.on_packet, self.on_lost = on_packet, on_lost
        self.hub.members[self.player] = self

    def send(self, destination: int, data: bytes) -> None:
        now = self.hub.clock()
        self.sent.append((now, destination, data))
        other = self.hub.members.get(destination)
        if other is not None and other.on_packet is not None:
            other.on_packet(self.player, data, now)

    def stats(self) -> dict[str, Any]:
        return {"sent": len(self.sent)}

    async def close(self, grace: float = 0.0) -> None:
        self.closed_with = grace
        self.hub.members.pop(self.player, None)


class TickingPeer:
    """Ticks ``frames`` times at ``fps``, sends its frame number to the other player, and is then done."""

    def __init__(self, start: float, *, player: int = 0, frames: int = 60, fps: float = 60.0) -> None:
        self.player = player
        self.frames = frames
        self.period = 1 / fps
        self.start = start
        self.frame = 0
        self.polls: list[float] = []
        self.received: list[tuple[int, bytes, float]] = []
        self.left: list[int] = []
        self.stopped_at: float | None = None
        self.exports: list[Export] = []
        self.events: list[Any] = []
        self.wants: float | None = None
        """Wake at this time, if it is earlier than the next frame."""
        self.on_poll: Callable[[], None] = lambda: None
        self.lingers = False
        """Never done after a stop."""

    @property
    def failure(self) -> BaseException | None:
        return None

    @property
    def done(self) -> bool:
        return not self.lingers and (self.stopped_at is not None or self.frame >= self.frames)

    @property
    def stats(self) -> dict[str, Any]:
        return {"frames": self.frame}

    def receive(self, source: int, data: bytes, now: float) -> None:
        self.received.append((source, data, now))

    def poll(self, now: float) -> list[tuple[int, bytes]]:
        self.polls.append(now)
        self.wants = None
        self.on_poll()
        if self.done or now < self.start + self.frame * self.period:
            return []
        self.frame += 1
        return [(1 - self.player, self.frame.to_bytes(2, "little"))]

    def next_wakeup(self, now: float) -> float:
        if self.done:
            return math.inf
        frame = self.start + self.frame * self.period
        return frame if self.wants is None else min(frame, self.wants)

    def player_left(self, player: int, now: float) -> None:
        self.left.append(player)

    def stop(self, now: float) -> None:
        self.stopped_at = now
        self.events.append("stopped")

    def take_exports(self) -> list[Export]:
        taken, self.exports = self.exports, []
        return taken

    def take_events(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken
