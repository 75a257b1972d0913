"""Drivers in virtual time: alone with a script of what arrives, or several at once in the virtual event loop."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from typing import Any

from rollgym.client_sim.client.match import FLUSH
from rollgym.client_sim.player.driver import Driver, WirePeer
from rollgym.client_sim.player.messages import Arrived, InMatch, Stop
from rollgym.client_sim.transport.interface import Transport
from tests.client.virtual import clock


class Script:
    """A clock and a line: waiting takes no time, and what was planned arrives when it should."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._planned: list[tuple[float, int, InMatch]] = []
        self._acts: list[tuple[float, int, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def at(self, seconds: float, message: InMatch | bytes) -> None:
        """A message, or a packet of player 1, arrives some seconds after the beginning."""
        at = 1000.0 + seconds
        arrived = Arrived(1, message, at) if isinstance(message, bytes) else message
        heapq.heappush(self._planned, (at, len(self._planned), arrived))

    def receive(self, timeout: float) -> InMatch | None:
        assert timeout < math.inf, "it waits for something that will never happen"
        until = self.now + timeout
        if self._planned and self._planned[0][0] <= until:
            at, _, message = heapq.heappop(self._planned)
            self.now = max(self.now, at)
            return message
        self.now = until
        return None


class Driven:
    """What the player process and the client do together, as a task in the virtual loop: one peer, one transport."""

    def __init__(
        self,
        peer: WirePeer,
        transport: Transport,
        *,
        on_export: Callable[[Any], None],
        on_event: Callable[[Any], None],
    ) -> None:
        self._transport = transport
        self._news = asyncio.Event()
        self.driver = Driver(peer, send=transport.send, on_export=on_export, on_event=on_event, clock=clock)

    async def run(self) -> None:
        await self._transport.open(
            lambda source, data, at: self._take(Arrived(source, data, at)), lambda reason: self._take(Stop())
        )
        self.driver.start()
        while not self.driver.over:
            self._news.clear()
            try:
                async with asyncio.timeout_at(self.driver.due if self.driver.due < math.inf else None):
                    await self._news.wait()
            except TimeoutError:
                pass
            self.driver.wake()
        await self._transport.close(FLUSH)
        if self.driver.failure is not None:
            raise self.driver.failure

    def _take(self, message: InMatch) -> None:
        self.driver.take(message)
        self._news.set()
