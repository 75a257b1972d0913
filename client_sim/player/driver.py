"""Drives a wire peer in a thread that may block: no event loop, no sockets, a clock from outside.

The peer says when it wants to be woken (:meth:`WirePeer.next_wakeup`); :func:`drive` waits until then, or until
something arrives, and hands over what the peer wants sent. Nothing here knows a frame or an input. Times are monotonic
seconds; wakeups are absolute, so that lateness never adds up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rollgym.client_sim.player.messages import Alive, Arrived, InMatch, Left
from rollgym.protocol.episode.export import Export

LATE = 0.004
"""Seconds. A tick that starts later than this behind its time counts as late. Waiting is done in whole milliseconds,
so up to 1 ms belongs to every tick; 4 ms is a quarter of a frame at 60 a second."""

LATENESS_BOUNDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Upper bounds, in seconds, of the lateness histogram's bins; the last bin has what is above all of them."""

STOP_LIMIT = 0.25
"""Seconds a stopped peer has for its goodbyes: who presses Ctrl-C will not wait."""


class WirePeer(Protocol):
    """What the driver needs of a peer (:class:`rollgym.client_sim.peer.peer.Peer`)."""

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


class Driver:
    """Plays one match with one peer: what arrives goes in, what the peer wants goes out.

    ``send`` gets (player, packet). ``on_export`` gets an export before anything else is said about it, to anybody: it
    returns when the export is safe. ``on_event`` gets the peer's events. What any of them raises, or the peer, comes
    out of the call that led to it; the driver may still be stopped then.
    """

    def __init__(
        self,
        peer: WirePeer,
        *,
        send: Callable[[int, bytes], None],
        on_export: Callable[[Export], None],
        on_event: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peer = peer
        self._send = send
        self._on_export = on_export
        self._on_event = on_event
        self._clock = clock
        self._lateness = Lateness()
        self._busy = 0.0
        self._worst_tick = 0.0
        self._started: float | None = None
        self._stopped = False
        self._give_up = math.inf
        self.due = math.inf
        """When :meth:`wake` has something to do."""

    @property
    def over(self) -> bool:
        """Nothing more will come of this match."""
        return self._peer.done or self._clock() >= self._give_up

    @property
    def failure(self) -> BaseException | None:
        """What the game or the policy raised, if that ended the match."""
        return self._peer.failure

    def start(self) -> None:
        """The first tick, now."""
        self._started = self._clock()
        self._tick(self._started)

    def wake(self) -> None:
        """Do what is due. Nothing, if nothing is."""
        now = self._clock()
        if now < self.due:
            return
        self._lateness.add(now - self.due)
        self._tick(now)

    def take(self, message: InMatch) -> None:
        """Something has arrived."""
        if type(message) is Arrived:
            self._receive(message)
        elif type(message) is Left:
            self._player_left(message.player)
        elif type(message) is not Alive:
            self.stop()

    def stop(self) -> None:
        """Stop playing now: partial export, goodbye to the partners within :data:`STOP_LIMIT`. May be repeated."""
        if self._stopped or self._peer.done:
            return
        self._stopped = True
        now = self._clock()
        self._peer.stop(now)
        self._give_up = self._clock() + STOP_LIMIT
        self._work(now)

    def stats(self) -> dict[str, Any]:
        """The peer's, and how well the ticks kept their time. ``busy``: seconds inside of ticks."""
        elapsed = 0.0 if self._started is None else self._clock() - self._started
        return {
            "peer": dict(self._peer.stats),
            "runtime": {
                **self._lateness.stats(),
                "busy": self._busy,
                "busy_share": self._busy / elapsed if elapsed > 0 else 0.0,
                "worst_tick": self._worst_tick,
            },
        }

    def _receive(self, packet: Arrived) -> None:
        peer, now = self._peer, self._clock()
        peer.receive(packet.source, packet.data, packet.at)
        if self._started is None:
            return
        if peer.done:
            self._work(now)
        else:
            # A wakeup that a packet moved forward is due now, and not when the peer could first have wanted it.
            self.due = min(self.due, max(peer.next_wakeup(now), now))

    def _player_left(self, player: int) -> None:
        if self._peer.done:
            return
        now = self._clock()
        self._peer.player_left(player, now)
        if self._started is not None:
            self._work(now)

    def _tick(self, now: float) -> None:
        storing = self._work(now)
        spent = self._clock() - now - storing
        self._busy += spent
        if spent > self._worst_tick:
            self._worst_tick = spent

    def _work(self, now: float) -> float:
        """Everything the peer has to do and to hand over at ``now``. Returns the seconds that exports took.

        A wakeup that is already past when a tick ends stays due at its own time, so that a tick too long for its
        frame shows as lateness of the next.
        """
        peer = self._peer
        packets = peer.poll(now)
        storing = 0.0
        # Exports first: whoever hears of an episode's end, partner or parent, finds its export safe.
        exports = peer.take_exports()
        if exports:
            began = self._clock()
            for export in exports:
                self._on_export(export)
            storing = self._clock() - began
        for destination, packet in packets:
            self._send(destination, packet)
        for event in peer.take_events():
            self._on_event(event)
        self.due = min(peer.next_wakeup(self._clock()), self._give_up)
        return storing


class Line(Protocol):
    """Where messages come from."""

    def receive(self, timeout: float) -> InMatch | None:
        """The next message, or None if there was none within ``timeout`` seconds."""
        ...


def drive(
    driver: Driver,
    line: Line,
    clock: Callable[[], float] = time.monotonic,
    between: Callable[[], None] = lambda: None,
    quiet: float = math.inf,
) -> None:
    """Play until the match is over. ``between`` is called after each round of what was due. Raises what the game or
    the policy raised, at the end, when exports and events were handed over.

    What has arrived is taken in before each tick, for it may decide what the tick does; but no more than had arrived
    when that began, so that no flood of packets keeps a tick from its time.

    When the line has been silent for ``quiet`` seconds, whoever serves the network is not scheduled, and nothing is
    played until it is: the others are not silent then, nobody listens to them.
    """
    driver.start()
    heard = clock()
    while not driver.over:
        message = line.receive(max(0.0, driver.due - clock()))
        began = clock()
        while message is not None:
            heard = began
            driver.take(message)
            if type(message) is Arrived and message.at >= began:
                break
            message = line.receive(0.0)
        if clock() - heard > quiet:
            message = line.receive(quiet)
            if message is None:
                continue
            heard = clock()
            driver.take(message)
            continue
        if not driver.over:
            driver.wake()
        between()
    if driver.failure is not None:
        raise driver.failure
