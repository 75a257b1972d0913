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


class Line:
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


class Room:
    """One match: its players' open lines, and the newest packets of each to each. It stays until the match is over."""

    __slots__ = ("held", "lines", "players")

    def __init__(self, players: int) -> None:
        self.players = players
        self.lines: dict[int, Line] = {}
        self.held: dict[tuple[int, int], deque[bytes]] = {}

    def hold(self, sender: int, receiver: int, packet: bytes) -> None:
        """Remember a packet in case it does not arrive."""
        held = self.held.get((sender, receiver))
        if held is None:
            held = self.held[sender, receiver] = deque(maxlen=HELD)
        held.append(packet)


class Relay:
    """The open lines of all matches."""

    def __init__(
        self, metrics: Metrics, *, packets_per_second: float, buffer_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._rate = packets_per_second
        self._buffer = buffer_bytes
        self._clock = clock
        self._rooms: dict[str, Room] = {}

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
        room = self._rooms.get(match)
        if room is None:
            room = self._rooms[match] = Room(players)
        ws = web.WebSocketResponse(
            max_msg_size=MAX_PACKET + 2, compress=False, timeout=_GOODBYE, protocols=(SUBPROTOCOL,)
        )
        await ws.prepare(request)
        _small_buffers(request)
        if self._rooms.get(match) is not room:
            await ws.close(code=MATCH_OVER, message=b"match over", drain=False)
            return ws
        before = room.lines.get(player)
        line = Line(ws, request)
        room.lines[player] = line
        self._metrics.relay_connections.inc()
        try:
            if before is not None:
                before.close(REPLACED, b"replaced by a newer connection")
            opened()
            for (_, receiver), held in list(room.held.items()):
                if receiver == player:
                    await self._deliver_all(line, held)
            line.carrying = asyncio.ensure_future(self._carry(line, room, player, signs))
            try:
                await line.carrying
            except asyncio.CancelledError:
                if line.goodbye is None:
                    line.carrying.cancel()
                    raise
            if line.goodbye is not None:
                await ws.close(code=line.goodbye[0], message=line.goodbye[1], drain=False)
        finally:
            line.closed.set()
            self._metrics.relay_connections.dec()
            if room.lines.get(player) is line:
                del room.lines[player]
        return ws

    async def _carry(self, line: Line, room: Room, player: int, signs: Signs) -> None:
        ws = line.ws
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
                for other in range(room.players):
                    if other != player:
                        await self._pass_on(room, player, other, packet)
            elif data[0] == player or data[0] >= room.players:
                self._metrics.dropped_absent.inc()
            else:
                await self._pass_on(room, player, data[0], packet)

    async def _pass_on(self, room: Room, sender: int, receiver: int, packet: bytes) -> None:
        room.hold(sender, receiver, packet)
        line = room.lines.get(receiver)
        if line is None:
            self._metrics.dropped_absent.inc()
        else:
            await self._deliver(line, packet)

    async def _deliver_all(self, line: Line, packets: deque[bytes]) -> None:
        for packet in tuple(packets):
            await self._deliver(line, packet)

    async def _deliver(self, line: Line, packet: bytes) -> None:
        transport = line.request.transport
        if transport is None or transport.is_closing() or line.ws.closed:
            self._metrics.dropped_absent.inc()
            return
        if transport.get_write_buffer_size() > self._buffer:
            self._metrics.dropped_slow.inc()
            return
        try:
            # Below the transport's high-water mark this writes at once and does not wait for the receiver.
            await line.ws.send_bytes(packet)
        except ConnectionError:
            self._metrics.dropped_absent.inc()
            return
        self._metrics.relay_packets.inc()
        self._metrics.relay_bytes.inc(len(packet))

    def close_match(self, match: str) -> None:
        """Close all lines of a match, and hold nothing of it any more."""
        room = self._rooms.pop(match, None)
        for line in room.lines.values() if room is not None else ():
            line.close(MATCH_OVER, b"match over")

    async def close_player(self, match: str, player: int) -> None:
        """Close the line of a player who left, and repeat its last packets to the others."""
        room = self._rooms.get(match)
        if room is None:
            return
        line = room.lines.pop(player, None)
        if line is not None:
            line.close(LEFT, b"you left the match")
        for (sender, receiver), held in list(room.held.items()):
            if sender == player and receiver in room.lines:
                await self._deliver_all(room.lines[receiver], held)

    async def close_all(self) -> None:
        """Close every line: the server stops."""
        lines = [line for room in self._rooms.values() for line in room.lines.values()]
        self._rooms.clear()
        for line in lines:
            line.close(WSCloseCode.GOING_AWAY, b"server stops")
        if lines:
            await asyncio.wait([asyncio.ensure_future(line.closed.wait()) for line in lines], timeout=2 * _GOODBYE)


def _small_buffers(request: web.Request) -> None:
    raw = request.transport.get_extra_info("socket") if request.transport is not None else None
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
