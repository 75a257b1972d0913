"""What every transport does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

GONE = "the server holds this player for gone"
"""Reason of a transport that is lost: the others end the match without this player, or play on without it."""

OnPacket = Callable[[int, bytes, float], None]
"""Called with (source player, packet, arrival in monotonic seconds), from the event loop."""

OnLost = Callable[[str], None]
"""Called once, with the reason, when the transport has broken for good. Nothing arrives or leaves after that."""


class TransportError(Exception):
    """The transport could not be opened. ``reason`` says why, ``url`` where to."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class Transport(Protocol):
    """Delivers packets between the players of a match as datagrams: each may be lost, repeated, overtaken or late, and
    none waits for another for long. One that arrives is whole, and its source is true: the peer relies on both.

    Life: :meth:`open` once, then :meth:`send` at will, then :meth:`close` once; all from the event loop. A packet has 1
    to ``rollgym.protocol.packets.MAX_PACKET`` bytes, players are counted from 0.
    """

    async def open(self, on_packet: OnPacket, on_lost: OnLost) -> None:
        """Connect. Raises :class:`TransportError` if that does not work within the transport's bound.

        From then on ``on_packet`` gets every packet of the other players; ``on_lost`` is called at most once, and not
        because of :meth:`close`.
        """
        ...

    def send(self, destination: int, data: bytes) -> None:
        """Send a packet to another player of the match or to :data:`~rollgym.protocol.relay.EVERYONE`.

        Never waits, and raises for nothing that the network does: what cannot go is dropped.
        """
        ...

    def stats(self) -> dict[str, Any]:
        """Counters since opening, by name, for records and people. May be called after :meth:`close`."""
        ...

    async def close(self, grace: float = 0.0) -> None:
        """Disconnect, also where :meth:`open` has failed or was never called. Raises nothing for a connection that is
        gone. Packets still held back on this side have ``grace`` seconds to get out."""
        ...
