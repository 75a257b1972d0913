"""Packets over the server's relay: one binary WebSocket, byte 0 of every message is the other player.

A WebSocket is an in-order stream, so datagrams are made of it by never letting it queue: a packet that finds more than
:data:`SEND_BOUND` bytes unsent is dropped here, and the peer's next packet carries its inputs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import structlog
from aiohttp import ClientWebSocketResponse, WSMsgType

from rollgym.client_sim.backoff import Backoff
from rollgym.client_sim.transport.interface import GONE, OnLost, OnPacket, TransportError
from rollgym.protocol.packets import MAX_PACKET
from rollgym.protocol.relay import FINAL_CODES, LEFT, LEFT_STATUS

log = structlog.get_logger(__name__)

SEND_BOUND = 16 * 1024
"""Bytes. About 100 ordinary packets, 1.5 s of play: more behind a stalled connection would only arrive stale."""

HEARTBEAT = 4.0
"""Seconds between pings; the connection counts as dead half of that later. Peers themselves notice silence sooner or
later as their settings say: this one is for a server that vanished without a word."""

MAX_MESSAGE = 64 * 1024
"""Bytes. A larger message breaks the connection before it is buffered; one above a packet's size is only dropped."""

CLOSE_TIMEOUT = 0.3
"""Seconds to wait for the server's half of the closing handshake."""

BACKOFF_FIRST, BACKOFF_MOST = 0.05, 1.0
"""Seconds between attempts to reconnect."""

FINAL_STATUSES = frozenset({400, 401, 403, 404, 405, 410, 426})
"""HTTP answers to the handshake that another attempt will not change."""


class RelaySocket(ClientWebSocketResponse):
    """A client WebSocket whose unsent bytes can be seen, with a send that never waits."""

    def __init__(self, reader: Any, writer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(reader, writer, *args, **kwargs)
        self.wire: asyncio.Transport = writer.transport

    def post(self, message: bytes) -> None:
        """Write one binary message. Raises ``ConnectionError`` if the connection is closing."""
        # aiohttp writes an uncompressed frame before it first waits, and waits only for the buffer to drain.
        # That is not our concern (we look at the buffer before), so one step of the coroutine is all of it. As a task
        # it takes a quarter longer (benchmarks/bench_relay.py), and what fails is known only after the tick.
        sending = self.send_bytes(message)
        try:
            sending.send(None)
        except StopIteration:
            return
        sending.close()


class RelayTransport:
    """The transport over the relay of the server that paired the match.

    After a broken connection it reconnects by itself; packets sent meanwhile are dropped. If that does not succeed
    within ``reconnect_within`` seconds, or the server refuses, ``on_lost`` is called.
    """

    def __init__(
        self,
        url: str,
        ticket: str,
        *,
        open_timeout: float = 5.0,
        reconnect_within: float = 5.0,
        heartbeat: float = HEARTBEAT,
        send_bound: int = SEND_BOUND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.url = url
        self._ticket = ticket
        self._open_timeout = open_timeout
        self._reconnect_within = reconnect_within
        self._heartbeat = heartbeat
        self._send_bound = send_bound
        self._clock = clock
        self._sleep = sleep
        self._backoff = Backoff(BACKOFF_FIRST, BACKOFF_MOST, rng)
        self._session: aiohttp.ClientSession | None = None
        self._socket: RelaySocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._stats = dict.fromkeys(
            ("sent", "sent_bytes", "received", "received_bytes", "dropped_full", "dropped_closed", "bad", "reconnects"),
            0,
        )

    async def open(self, on_packet: OnPacket, on_lost: OnLost) -> None:
        """Connect, within ``open_timeout`` seconds. Raises :class:`TransportError`."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            ws_response_class=RelaySocket,
        )
        try:
            socket = await self._connect()
        except BaseException:
            await self._session.close()
            raise
        self._socket = socket
        self._task = asyncio.create_task(self._run(socket, on_packet, on_lost), name="relay")

    def send(self, destination: int, data: bytes) -> None:
        """Send a packet to a player or to everyone; dropped while disconnected or with too much unsent."""
        socket, stats = self._socket, self._stats
        if socket is None or socket.wire.is_closing():
            stats["dropped_closed"] += 1
            return
        if socket.wire.get_write_buffer_size() > self._send_bound:
            stats["dropped_full"] += 1
            return
        try:
            socket.post(bytes((destination,)) + data)
        except ConnectionError:
            stats["dropped_closed"] += 1
            return
        stats["sent"] += 1
        stats["sent_bytes"] += len(data)

    def stats(self) -> dict[str, Any]:
        """Packets and bytes in and out, and what was dropped and why."""
        return dict(self._stats)

    async def close(self, grace: float = 0.0) -> None:
        """Close the connection. Holds nothing back, so ``grace`` has no use here."""
        self._closing = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._session is not None:
            await self._session.close()

    async def _connect(self) -> RelaySocket:
        assert self._session is not None
        try:
            async with asyncio.timeout(self._open_timeout):
                socket = await self._session.ws_connect(
                    self.url,
                    headers={"Authorization": f"Bearer {self._ticket}"},
                    heartbeat=self._heartbeat,
                    max_msg_size=MAX_MESSAGE,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                )
        except aiohttp.WSServerHandshakeError as error:
            reason = GONE if error.status == LEFT_STATUS else f"refused with status {error.status}"
            raise _RefusedError(self.url, reason, error.status) from error
        except TimeoutError as error:
            raise TransportError(self.url, f"no answer within {self._open_timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(self.url, str(error) or type(error).__name__) from error
        assert isinstance(socket, RelaySocket)
        return socket

    async def _run(self, socket: RelaySocket | None, on_packet: OnPacket, on_lost: OnLost) -> None:
        deadline, backoff = 0.0, self._backoff
        while socket is not None:
            opened, received = self._clock(), self._stats["received"]
            reason = await self._receive(socket, on_packet)
            self._socket = None
            if self._closing:
                return
            if socket.close_code in FINAL_CODES:
                break
            now = self._clock()
            # A server that accepts and hangs up at once must not keep us here for ever: only a connection that was of
            # use starts the time allowed for reconnecting anew.
            if backoff.attempts == 0 or self._stats["received"] > received or now - opened >= self._reconnect_within:
                deadline = now + self._reconnect_within
                backoff.reset()
            log.warning("relay connection broke", reason=reason, attempt=backoff.attempts)
            socket, reason = await self._reconnect(deadline, reason)
            self._socket = socket
        on_lost(reason)

    async def _receive(self, socket: RelaySocket, on_packet: OnPacket) -> str:
        """Hand on what arrives until the connection ends; returns the reason."""
        stats = self._stats
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                data = message.data
                if not 1 < len(data) <= MAX_PACKET + 1:
                    stats["bad"] += 1
                    continue
                stats["received"] += 1
                stats["received_bytes"] += len(data) - 1
                on_packet(data[0], data[1:], self._clock())
            elif message.type is WSMsgType.TEXT:
                stats["bad"] += 1
            elif message.type is WSMsgType.ERROR:
                return f"connection error: {message.data}"
            else:
                return GONE if socket.close_code == LEFT else f"closed by the server (code {socket.close_code})"

    async def _reconnect(self, deadline: float, reason: str) -> tuple[RelaySocket | None, str]:
        while True:
            pause = self._backoff.next_within(deadline - self._clock())
            if pause is None:
                return None, f"{reason}; not reconnected within {self._reconnect_within:g} s"
            await self._sleep(pause)
            try:
                socket = await self._connect()
            except _RefusedError as error:
                reason = error.reason
                if error.status in FINAL_STATUSES:
                    return None, reason
            except TransportError as error:
                reason = error.reason
            else:
                self._stats["reconnects"] += 1
                return socket, ""


class _RefusedError(TransportError):
    def __init__(self, url: str, reason: str, status: int) -> None:
        super().__init__(url, reason)
        self.status = status
