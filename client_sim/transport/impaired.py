"""A bad network in front of a good one: every packet is delayed, lost, repeated or held up before it is really sent.

The impairment sits in the transport itself, on the sending side, so that everything above it (the peer, its clocks,
its measurements) lives with it as with a real one. The fate of each packet is drawn when it is sent, in the order of
sending, from the same model that the simulator uses.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Any

from rollgym.client_sim.network_model import Channel, Link
from rollgym.client_sim.transport.interface import OnLost, OnPacket, Transport
from rollgym.protocol.relay import EVERYONE

MAX_HELD = 4096
"""Packets held back at once. At 60 a second and 2 s of delay there are 120; beyond the bound they are dropped."""


class ImpairedTransport:
    """Puts a :class:`~rollgym.client_sim.network_model.Link` in front of the sending side of another transport.

    Both players wrap their own transport: each direction then has its conditions, once.
    """

    def __init__(
        self,
        inner: Transport,
        link: Link,
        *,
        player: int,
        players: int,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._channels: dict[int, Channel] = {
            other: link.channel(player, other, seed) for other in range(players) if other != player
        }
        self._held: list[tuple[float, int, int, bytes]] = []  # (due, order of sending, destination, packet)
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._idle: asyncio.Event | None = None
        self._overflow = 0
        self._worst_late = 0.0

    async def open(self, on_packet: OnPacket, on_lost: OnLost) -> None:
        """Open the inner transport. Raises what that raises."""
        await self._inner.open(on_packet, on_lost)

    def send(self, destination: int, data: bytes) -> None:
        """Draw the packet's fate and send it then. To everyone: one packet per player, each with its own fate."""
        if destination == EVERYONE:
            for other in self._channels:
                self.send(other, data)
            return
        now = self._clock()
        for due in self._channels[destination].deliveries(now, len(data)):
            if due <= now:
                self._inner.send(destination, data)
            elif len(self._held) >= MAX_HELD:
                self._overflow += 1
            else:
                self._order += 1
                heapq.heappush(self._held, (due, self._order, destination, data))
        self._arm(now)

    def stats(self) -> dict[str, Any]:
        """The inner transport's counters; ``impairment`` has those of each direction, by destination player."""
        return {
            **self._inner.stats(),
            "impairment": {
                str(other): {
                    "sent": channel.sent,
                    "bytes": channel.bytes,
                    "lost": channel.lost,
                    "duplicated": channel.duplicated,
                    "reordered": channel.reordered,
                }
                for other, channel in self._channels.items()
            },
            "impairment_overflow": self._overflow,
            "impairment_worst_late": self._worst_late,
        }

    async def close(self, grace: float = 0.0) -> None:
        """Let packets that are held back out for up to ``grace`` seconds, then close the inner transport."""
        if self._held and grace > 0:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(grace):
                    await self._idle.wait()
            except TimeoutError:
                self._overflow += len(self._held)
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._inner.close(grace)

    def _arm(self, now: float) -> None:
        if not self._held:
            return
        due = self._held[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._release)

    def _release(self) -> None:
        self._timer = None
        now = self._clock()
        while self._held and self._held[0][0] <= now:
            due, _, destination, data = heapq.heappop(self._held)
            self._worst_late = max(self._worst_late, now - due)
            self._inner.send(destination, data)
        if not self._held and self._idle is not None:
            self._idle.set()
        self._arm(now)
