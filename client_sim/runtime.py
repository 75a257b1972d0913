"""Drives a wire peer with asyncio: a real clock, a real transport.

The peer says when it wants to be woken (:meth:`WirePeer.next_wakeup`); the runtime sleeps until then, or until a
packet changes the answer, and hands over what the peer wants sent. Nothing here knows a frame or an input. Times are
monotonic seconds; wakeups are absolute, so that lateness never adds up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from rollgym.client_sim.transport.interface import Transport
from rollgym.protocol.episode import Export

log = structlog.get_logger(__name__)

LATE = 0.004
"""Seconds. A tick that starts later than this behind its time counts as late. The event loop sleeps in whole
milliseconds, so up to 1 ms belongs to every tick; 4 ms is a quarter of a frame at 60 a second."""

LATENESS_BOUNDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Upper bounds, in seconds, of the lateness histogram's bins; the last bin has what is above all of them."""

FLUSH = 0.5
"""Seconds that packets held back by an impaired transport (the last End and Bye) have to get out at the end."""

STOP_LIMIT = 0.25
"""Seconds a stopped peer has for its goodbyes, and packets held back to get out: who presses Ctrl-C will not wait."""


class WirePeer(Protocol):
    """What the runtime needs of a peer (:class:`rollgym.client_sim.peer.Peer`)."""

    @property
    def done(self) -> bool: ...

    @property
    def stats(self) -> dict[str, Any]: ...

    @property
    def failure(self) -> BaseException | None: ...

    def receive(self, source: int, data: bytes, now: float) -> None: ...

    def poll(self, now: float) -> Sequence[tuple[int, bytes]]: ...

    def next_wakeup(self, now: float) -> float: ...

    def player_left(self, player: int, now: float) -> None: ...

    def stop(self, now: float) -> None: ...

    def take_exports(self) -> Sequence[Export]: ...

    def take_events(self) -> Sequence[Any]: ...


class Lateness:
    """How late ticks start, in seconds."""

    __slots__ = ("bins", "late", "ticks", "total", "worst")

    def __init__(self) -> None:
        self.ticks = 0
        self.late = 0
        self.total = 0.0
        self.worst = 0.0
        self.bins = [0] * (len(LATENESS_BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count one tick."""
        self.ticks += 1
        self.total += seconds
        if seconds > self.worst:
            self.worst = seconds
        if seconds > LATE:
            self.late += 1
        for index, bound in enumerate(LATENESS_BOUNDS):
            if seconds <= bound:
                self.bins[index] += 1
                return
        self.bins[-1] += 1

    def stats(self) -> dict[str, Any]:
        """Totals; ``lateness_histogram`` maps each bin's upper bound in ms to its ticks."""
        names = [f"{bound * 1000:g}" for bound in LATENESS_BOUNDS] + ["more"]
        return {
            "ticks": self.ticks,
            "late_ticks": self.late,
            "worst_lateness": self.worst,
            "mean_lateness": self.total / self.ticks if self.ticks else 0.0,
            "lateness_histogram": dict(zip(names, self.bins, strict=True)),
        }


class Runtime:
    """Plays one match: one peer over one transport.

    ``on_export`` and ``on_event`` get what the peer has finished, from the event loop; they must not block. An
    exception from them or from the peer ends :meth:`run` with it.
    """

    def __init__(
        self,
        peer: WirePeer,
        transport: Transport,
        *,
        on_export: Callable[[Export], None],
        on_event: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._on_export = on_export
        self._on_event = on_event
        self._clock = clock
        self._lateness = Lateness()
        self._busy = 0.0
        self._worst_tick = 0.0
        self._started: float | None = None
        self._ended: asyncio.Future[None] | None = None
        self._handle: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due = math.inf
        self._stopped = False
        self.lost: str | None = None
        """Why the transport broke for good, if it did."""

    async def run(self) -> None:
        """Play until the peer is done. Raises ``TransportError`` if the transport does not open.

        When it is cancelled, or the transport fails, the peer is stopped and its partial export still handed over.
        What the game or the policy raised is raised at the end, after exports and events have been handed over.
        """
        self._ended = asyncio.get_running_loop().create_future()
        try:
            await self._transport.open(self._on_packet, self._on_lost)
            self._started = self._clock()
            self._guard(self._tick, self._started)
            await self._ended
            if self._peer.failure is not None:
                raise self._peer.failure
        except BaseException:
            self.stop()
            raise
        finally:
            self._cancel_timer()
            await self._transport.close(STOP_LIMIT if self._stopped else FLUSH)

    def stop(self) -> None:
        """Stop playing now: partial export, goodbye to the partners. :meth:`run` returns soon. May be repeated."""
        if not self._stopped and not self._peer.done:
            self._stopped = True
            self._guard(self._stop)

    def player_left(self, player: int) -> None:
        """The server says that another player is gone."""
        if not self._peer.done:
            self._guard(self._player_left, player)

    def stats(self) -> dict[str, Any]:
        """The peer's, the transport's, and how well the ticks kept their time. ``busy``: seconds inside of ticks."""
        elapsed = 0.0 if self._started is None else self._clock() - self._started
        return {
            "peer": dict(self._peer.stats),
            "transport": self._transport.stats(),
            "runtime": {
                **self._lateness.stats(),
                "busy": self._busy,
                "busy_share": self._busy / elapsed if elapsed > 0 else 0.0,
                "worst_tick": self._worst_tick,
            },
        }

    def _guard(self, act: Callable[..., None], *args: Any) -> None:
        """Act for the event loop: what goes wrong ends the run instead of vanishing in a callback."""
        try:
            act(*args)
        except Exception as error:
            if self._ended is None or self._ended.done():
                raise
            self._ended.set_exception(error)

    def _stop(self) -> None:
        now = self._clock()
        self._peer.stop(now)
        self._work(now)
        if not self._peer.done and self._ended is not None:
            asyncio.get_running_loop().call_later(STOP_LIMIT, self._end)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _player_left(self, player: int) -> None:
        now = self._clock()
        self._peer.player_left(player, now)
        if self._started is not None:
            self._work(now)

    def _on_lost(self, reason: str) -> None:
        log.info("transport lost", reason=reason)
        self.lost = reason
        self.stop()

    def _on_packet(self, source: int, data: bytes, now: float) -> None:
        self._guard(self._receive, source, data, now)

    def _receive(self, source: int, data: bytes, now: float) -> None:
        if self._ended is None or self._ended.done():
            return
        self._peer.receive(source, data, now)
        if self._started is None:
            return
        if self._peer.done:
            self._work(now)
        elif self._peer.next_wakeup(now) < self._due:
            self._sleep(now, earliest=now)

    def _wake(self) -> None:
        self._handle = None
        now = self._clock()
        if now < self._due:  # uvloop rounds to the nearest millisecond; nothing shorter can be slept there
            self._handle = asyncio.get_running_loop().call_later(max(0.001, self._due - now), self._wake)
            return
        self._lateness.add(now - self._due)
        self._guard(self._tick, now)

    def _tick(self, now: float) -> None:
        self._work(now)
        spent = self._clock() - now
        self._busy += spent
        if spent > self._worst_tick:
            self._worst_tick = spent

    def _work(self, now: float) -> None:
        """Everything the peer has to do and to hand over at ``now``; then sleep, or end."""
        peer = self._peer
        for destination, packet in peer.poll(now):
            self._transport.send(destination, packet)
        # Exports before events: whoever hears of an episode's end finds its export already under way.
        for export in peer.take_exports():
            self._on_export(export)
        for event in peer.take_events():
            self._on_event(event)
        if peer.done:
            self._end()
        elif self._started is not None:
            self._sleep(self._clock())

    def _sleep(self, now: float, earliest: float = -math.inf) -> None:
        """Arm the timer for the peer's next wakeup.

        A wakeup that is already past when a tick ends stays due at its own time, so that a tick too long for its
        frame shows as lateness of the next. One that a packet moved forward (``earliest``) is due now.
        """
        self._cancel_timer()
        self._due = max(self._peer.next_wakeup(now), earliest)
        if self._due == math.inf:
            return
        loop = asyncio.get_running_loop()
        delay = self._due - now
        self._handle = loop.call_soon(self._wake) if delay <= 0 else loop.call_later(delay, self._wake)

    def _cancel_timer(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._due = math.inf
