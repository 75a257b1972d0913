"""The data plane: packets between the players of a match, over one binary WebSocket each.

Client to server: byte 0 is the receiving player (0xFF: all others), the rest one packet. Server to client: byte 0 is
the sending player. The server looks at no more of a packet than its first bytes, which say how far the sender is
(:mod:`rollgym.server.play.signs`), and treats all alike. Datagram semantics: a packet is delivered now or never. A
receiver whose socket does not drain loses packets; nobody else notices.

The last few packets of every pair of players are held. They repeat every input that was not acknowledged, so a player
who was not connected when somebody's last packets came gets these inputs after all: when it is back, and when the
sender leaves. Frames that both have played are not lost because a packet was.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from aiohttp import WSCloseCode, WSMsgType, web

from rollgym.protocol.packets import MAX_PACKET
from rollgym.protocol.relay import EVERYONE, LEFT, MATCH_OVER, REPLACED, SUBPROTOCOL
from rollgym.server.metrics import Metrics
from rollgym.server.play.signs import Signs

HELD = 4
"""Packets held per pair: the last inputs, and what may come behind them (an end, its acknowledgement, a goodbye)."""

_GOODBYE = 0.3
# Seconds a closed connection's client gets to answer. Shorter than any grace of the server's own end.

_KERNEL_BUFFER = 65_536
# Unsent packets in the kernel are late packets: a small buffer makes a stalled receiver visible early.


class Bucket:
    """A token bucket: ``rate`` packets per second on average, one second's worth at once."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more packet is within the rate."""
        tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


class RelayConnection:
    """One player's open connection."""

    __slots__ = ("carrying", "closed", "goodbye", "request", "ws")

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.request = request
        self.carrying: asyncio.Task[None] | None = None
        self.goodbye: tuple[int, bytes] | None = None
        """Close code and text, once it is to end."""
        self.closed = asyncio.Event()

    def close(self, code: int, text: bytes) -> None:
        """End it, with the closing handshake if the client reads."""
        if self.goodbye is not None:
            return
        self.goodbye = (code, text)
        transport = self.request.transport
        if transport is not None and transport.get_write_buffer_size() > 0:
            transport.abort()  # it does not read: it would not see the goodbye either
        if self.carrying is not None:
            self.carrying.cancel()


class RelayMatch:
    """One match: its players' open connections, and the newest packets of each to each, until the match is over."""

    __slots__ = ("connections", "held", "players")

    def __init__(self, players: int) -> None:
        self.players = players
        self.connections: dict[int, RelayConnection] = {}
        self.held: dict[tuple[int, int], deque[bytes]] = {}

    def hold(self, sender: int, receiver: int, packet: bytes) -> None:
        """Remember a packet in case it does not arrive."""
        held = self.held.get((sender, receiver))
        if held is None:
            held = self.held[sender, receiver] = deque(maxlen=HELD)
        held.append(packet)


class Relay:
    """The open connections of all matches."""

    def __init__(
        self, metrics: Metrics, *, packets_per_second: float, buffer_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._rate = packets_per_second
        self._buffer = buffer_bytes
        self._clock = clock
        self._relayed: dict[str, RelayMatch] = {}

    async def serve(
        self,
        request: web.Request,
        match: str,
        player: int,
        *,
        players: int,
        signs: Signs,
        opened: Callable[[], None],
    ) -> web.WebSocketResponse:
        """Carry one player's packets until its connection ends. ``opened`` is called once it is up.

        ``players``: how many the match has; ``signs``: where each message of this one is noted. To be called while the
        match is not over, without an await in between.
        """
        relayed = self._relayed.get(match)
        if relayed is None:
            relayed = self._relayed[match] = RelayMatch(players)
        ws = web.WebSocketResponse(
            max_msg_size=MAX_PACKET + 2, compress=False, timeout=_GOODBYE, protocols=(SUBPROTOCOL,)
        )
        await ws.prepare(request)
        _small_buffers(request)
        if self._relayed.get(match) is not relayed:
            await ws.close(code=MATCH_OVER, message=b"match over", drain=False)
            return ws
        before = relayed.connections.get(player)
        connection = RelayConnection(ws, request)
        relayed.connections[player] = connection
        self._metrics.relay_connections.inc()
        try:
            if before is not None:
                before.close(REPLACED, b"replaced by a newer connection")
            opened()
            for (_, receiver), held in list(relayed.held.items()):
                if receiver == player:
                    await self._deliver_all(connection, held)
            connection.carrying = asyncio.ensure_future(self._carry(connection, relayed, player, signs))
            try:
                await connection.carrying
            except asyncio.CancelledError:
                if connection.goodbye is None:
                    connection.carrying.cancel()
                    raise
            if connection.goodbye is not None:
                await ws.close(code=connection.goodbye[0], message=connection.goodbye[1], drain=False)
        finally:
            connection.closed.set()
            self._metrics.relay_connections.dec()
            if relayed.connections.get(player) is connection:
                del relayed.connections[player]
        return ws

    async def _carry(self, connection: RelayConnection, relayed: RelayMatch, player: int, signs: Signs) -> None:
        ws = connection.ws
        bucket = Bucket(self._rate, self._clock())
        me = bytes((player,))
        binary = WSMsgType.BINARY
        while True:
            message = await ws.receive()
            if message.type is not binary:
                if message.type is WSMsgType.TEXT:
                    await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"expected binary messages")
                return  # closed by the client, or by receive() with 1009 for a message that is too large
            data: bytes = message.data
            if not 2 <= len(data) <= MAX_PACKET + 1:
                code = WSCloseCode.POLICY_VIOLATION if len(data) < 2 else WSCloseCode.MESSAGE_TOO_BIG
                await ws.close(code=code, message=b"expected a player and a packet of 1 to 1200 bytes")
                return
            now = self._clock()
            signs.packet(data, now)
            if not bucket.take(now):
                self._metrics.dropped_rate.inc()
                continue
            packet = me + data[1:]
            if data[0] == EVERYONE:
                for other in range(relayed.players):
                    if other != player:
                        await self._pass_on(relayed, player, other, packet)
            elif data[0] == player or data[0] >= relayed.players:
                self._metrics.dropped_absent.inc()
            else:
                await self._pass_on(relayed, player, data[0], packet)

    async def _pass_on(self, relayed: RelayMatch, sender: int, receiver: int, packet: bytes) -> None:
        relayed.hold(sender, receiver, packet)
        connection = relayed.connections.get(receiver)
        if connection is None:
            self._metrics.dropped_absent.inc()
        else:
            await self._deliver(connection, packet)

    async def _deliver_all(self, connection: RelayConnection, packets: deque[bytes]) -> None:
        for packet in tuple(packets):
            await self._deliver(connection, packet)

    async def _deliver(self, connection: RelayConnection, packet: bytes) -> None:
        transport = connection.request.transport
        if transport is None or transport.is_closing() or connection.ws.closed:
            self._metrics.dropped_absent.inc()
            return
        if transport.get_write_buffer_size() > self._buffer:
            self._metrics.dropped_slow.inc()
            return
        try:
            # Below the transport's high-water mark this writes at once and does not wait for the receiver.
            await connection.ws.send_bytes(packet)
        except ConnectionError:
            self._metrics.dropped_absent.inc()
            return
        self._metrics.relay_packets.inc()
        self._metrics.relay_bytes.inc(len(packet))

    def close_match(self, match: str) -> None:
        """Close all connections of a match, and hold nothing of it any more."""
        relayed = self._relayed.pop(match, None)
        for connection in relayed.connections.values() if relayed is not None else ():
            connection.close(MATCH_OVER, b"match over")

    async def close_player(self, match: str, player: int) -> None:
        """Close the connection of a player who left, and repeat its last packets to the others."""
        relayed = self._relayed.get(match)
        if relayed is None:
            return
        connection = relayed.connections.pop(player, None)
        if connection is not None:
            connection.close(LEFT, b"you left the match")
        for (sender, receiver), held in list(relayed.held.items()):
            if sender == player and receiver in relayed.connections:
                await self._deliver_all(relayed.connections[receiver], held)

    async def close_all(self) -> None:
        """Close every connection: the server stops."""
        connections = [connection for relayed in self._relayed.values() for connection in relayed.connections.values()]
        self._relayed.clear()
        for connection in connections:
            connection.close(WSCloseCode.GOING_AWAY, b"server stops")
        if connections:
            closed = [asyncio.ensure_future(connection.closed.wait()) for connection in connections]
            await asyncio.wait(closed, timeout=2 * _GOODBYE)


def _small_buffers(request: web.Request) -> None:
    raw = request.transport.get_extra_info("socket") if request.transport is not None else None
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
