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
    """Delivers packets between the players of a match as datagrams: each may be lost, none waits for another for long.

    Life: :meth:`open` once, then :meth:`send` at will, then :meth:`close` once.
    """

    async def open(self, on_packet: OnPacket, on_lost: OnLost) -> None:
        """Connect. Raises :class:`TransportError` if that does not work within the transport's bound."""
        ...

    def send(self, destination: int, data: bytes) -> None:
        """Send a packet to another player of the match or to :data:`~rollgym.protocol.relay.EVERYONE`.

        Never waits, and raises for nothing that the network does: what cannot go is dropped.
        """
        ...

    def stats(self) -> dict[str, Any]:
        """Counters since opening."""
        ...

    async def close(self, grace: float = 0.0) -> None:
        """Disconnect. Packets still held back on this side have ``grace`` seconds to get out."""
        ...
