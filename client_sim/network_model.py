"""Network conditions: plain records with names, and the seeded model that simulator and real transport share.

Determinism contract: a :class:`Channel` reads no clock and no global generator, and takes exactly six draws from its
own generator for every packet, whatever becomes of it. So the same seed and the same calls give the same deliveries;
and two conditions that differ in one value only, with the same seed, treat each packet alike in every other respect.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import Any


class ConditionsError(ValueError):
    """A network condition out of range, or a name that does not exist. ``field`` names the culprit."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{field}: {value!r}, expected {expected}")
        self.field = field
        self.value = value
        self.expected = expected


@dataclass(frozen=True)
class NetworkConditions:
    """What one direction of a link does to packets. The default is a perfect link.

    Every value is for one way: a round trip takes twice the latency and suffers the loss twice.
    Raises :class:`ConditionsError` for a value out of range.
    """

    loss: float = 0.0
    """Probability, 0 to 1, that a packet is lost, each for itself."""
    latency: float = 0.0
    """Seconds from sending to arrival."""
    jitter: float = 0.0
    """Seconds: each packet's delay is uniform in ``latency - jitter .. latency + jitter``, cut off at 0.
    Datagrams sent less than ``2 * jitter`` apart may therefore overtake each other."""
    reorder: float = 0.0
    """Probability, 0 to 1, that a packet is held back for ``reorder_delay`` more, so that later ones overtake it."""
    reorder_delay: float = 0.04
    """Seconds a reordered packet is held back; the default lets two packets overtake at 60 a second, one at 30."""
    duplicate: float = 0.0
    """Probability, 0 to 1, that a packet arrives twice; the copy has its own jitter."""
    burst_start: float = 0.0
    """Probability, 0 to 1, that a packet (outside of a burst) begins a burst: it and the next ones are all lost."""
    burst_length: int = 0
    """Packets lost in a burst, the first one included."""
    retransmit: float = 0.0
    """Seconds. 0: datagrams. Above 0 the direction is an in-order stream (TCP, a WebSocket): a lost packet is not lost
    but arrives this much later, and nothing behind it arrives before it."""

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate", "burst_start"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConditionsError(name, getattr(self, name), "a probability from 0 to 1")
        for name in ("latency", "jitter", "reorder_delay", "retransmit"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConditionsError(name, value, "seconds, 0 or more")
        if self.burst_length < 0 or (self.burst_start > 0 and self.burst_length < 1):
            raise ConditionsError("burst_length", self.burst_length, "at least 1 packet where burst_start is above 0")
        if self.retransmit > 0:
            for name in ("reorder", "duplicate"):
                if getattr(self, name) > 0:
                    raise ConditionsError(name, getattr(self, name), "0: an in-order stream does neither")

    def check_that_it_carries(self) -> NetworkConditions:
        """These. Raises :class:`ConditionsError` if no packet would ever arrive, so that nothing could be played."""
        if self.retransmit == 0:
            for name in ("loss", "burst_start"):
                if getattr(self, name) == 1.0:
                    raise ConditionsError(name, 1.0, "less than 100%: no packet would ever arrive")
        return self

    def describe(self) -> dict[str, Any]:
        """The values that differ from a perfect link, for logs and records."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True)
class Link:
    """Both directions between two players.

    ``forward`` holds for packets from the player with the lower index to the one with the higher,
    ``backward`` for the other way.
    """

    forward: NetworkConditions
    backward: NetworkConditions

    @classmethod
    def both(cls, conditions: NetworkConditions) -> Link:
        """The same conditions in both directions."""
        return cls(conditions, conditions)

    def direction(self, source: int, destination: int) -> NetworkConditions:
        """The conditions for packets from player ``source`` to player ``destination``."""
        return self.forward if source < destination else self.backward

    def channel(self, source: int, destination: int, seed: int) -> Channel:
        """The direction's channel with its own generator: each pair of players draws independently."""
        rng = random.Random(f"rollgym/network/{seed}/{source}/{destination}")  # noqa: S311 - a model, not a secret
        return Channel(self.direction(source, destination), rng)


PERFECT = NetworkConditions()


class Channel:
    """One direction of a link: says for every packet when it arrives.

    For the packet sent at ``now``, in this order:

    1. *Burst*: outside of a burst, with probability ``burst_start`` a burst of ``burst_length`` packets begins with
       this packet. Every packet of a burst is lost.
    2. *Loss*: otherwise it is lost with probability ``loss``.
    3. *Delay*: ``max(0, latency + u)`` with ``u`` uniform in ``-jitter .. jitter``.
    4. *Reorder*: with probability ``reorder``, ``reorder_delay`` is added.
    5. *Duplicate*: with probability ``duplicate`` there is a second arrival, with its own delay as in 3.

    In-order stream (``retransmit > 0``): instead of being lost in 1 or 2 the packet's delay grows by ``retransmit``,
    and it arrives no earlier than any packet sent before it, so that those behind a lost one wait with it.
    """

    __slots__ = ("_burst", "_last", "_random", "bytes", "conditions", "duplicated", "lost", "reordered", "sent")

    def __init__(self, conditions: NetworkConditions, rng: random.Random) -> None:
        self.conditions = conditions
        self._random = rng.random
        self._burst = 0
        self._last = -math.inf
        self.sent = 0
        """Packets handed to the channel."""
        self.bytes = 0
        """Their bytes."""
        self.lost = 0
        """Packets lost; of a stream: packets that had to be sent again."""
        self.reordered = 0
        self.duplicated = 0

    def deliveries(self, now: float, size: int) -> list[float]:
        """When the packet of ``size`` bytes sent at ``now`` arrives, ascending: empty if lost, two times if duplicated.

        Times are seconds on the clock of ``now``; ``now`` must not go backwards from call to call.
        """
        c, draw = self.conditions, self._random
        burst, loss, jitter, reorder, duplicate, jitter_of_copy = draw(), draw(), draw(), draw(), draw(), draw()
        self.sent += 1
        self.bytes += size
        if self._burst == 0 and burst < c.burst_start:
            self._burst = c.burst_length
        if self._burst > 0:
            self._burst -= 1
            lost = True
        else:
            lost = loss < c.loss
        if lost:
            self.lost += 1
            if c.retransmit == 0.0:
                return []
        delay = c.latency + (2.0 * jitter - 1.0) * c.jitter
        if delay < 0.0:
            delay = 0.0
        if c.retransmit > 0.0:
            arrival = now + delay + (c.retransmit if lost else 0.0)
            if arrival < self._last:
                arrival = self._last
            self._last = arrival
            return [arrival]
        if reorder < c.reorder:
            self.reordered += 1
            delay += c.reorder_delay
        if duplicate < c.duplicate:
            self.duplicated += 1
            other = max(0.0, c.latency + (2.0 * jitter_of_copy - 1.0) * c.jitter)
            return sorted((now + delay, now + other))
        return [now + delay]


def _ms(
    latency: float,
    jitter: float = 0.0,
    *,
    loss: float = 0.0,
    reorder: float = 0.0,
    duplicate: float = 0.0,
    burst: tuple[float, int] = (0.0, 0),
    retransmit: float = 0.0,
) -> NetworkConditions:
    """Conditions with times in milliseconds and probabilities in percent, as tables have them."""
    return NetworkConditions(
        loss=loss / 100,
        latency=latency / 1000,
        jitter=jitter / 1000,
        reorder=reorder / 100,
        duplicate=duplicate / 100,
        burst_start=burst[0] / 100,
        burst_length=burst[1],
        retransmit=retransmit / 1000,
    )


CONDITIONS: dict[str, Link] = {
    "local": Link.both(PERFECT),
    "lan": Link.both(_ms(1, 1)),
    "constant_50": Link.both(_ms(50)),
    "constant_100": Link.both(_ms(100)),
    "constant_250": Link.both(_ms(250)),
    "wifi_good": Link.both(_ms(5, 5, loss=1)),
    "wifi_average": Link.both(_ms(15, 15, loss=5, reorder=2, duplicate=1)),
    "wifi_congested": Link.both(_ms(30, 40, loss=15, reorder=5, duplicate=2, burst=(2, 3))),
    "mobile_4g": Link.both(_ms(50, 25, loss=8, reorder=3, duplicate=1, burst=(1, 2))),
    "mobile_3g": Link.both(_ms(100, 50, loss=15, reorder=5, duplicate=2, burst=(2, 4))),
    "intercontinental": Link.both(_ms(150, 20, loss=2, reorder=1)),
    "heavy_reorder": Link.both(_ms(30, 20, loss=2, reorder=30)),
    "duplicating": Link.both(_ms(20, 10, loss=2, reorder=5, duplicate=15)),
    "bursty": Link.both(_ms(25, 15, loss=5, reorder=2, duplicate=1, burst=(10, 5))),
    "terrible": Link.both(_ms(120, 60, loss=25, reorder=10, duplicate=5, burst=(5, 5))),
    "asymmetric_100_500": Link(forward=_ms(100), backward=_ms(500)),
    "tcp_1": Link.both(_ms(50, 10, loss=1, retransmit=200)),
    "tcp_5": Link.both(_ms(50, 10, loss=5, retransmit=200)),
}
"""The named links. Tests, the simulator's ``--network NAME`` and published figures mean these."""


def link(name: str) -> Link:
    """The link of that name. Raises :class:`ConditionsError` that lists the names there are."""
    found = CONDITIONS.get(name)
    if found is None:
        raise ConditionsError("network", name, f"one of {', '.join(CONDITIONS)}")
    return found
