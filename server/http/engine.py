"""Engine.IO below Socket.IO: bounded mailboxes, who is silent for too long, and frames that are no Engine.IO.

The library keeps an unbounded queue per client. Here it is bounded: a client that does not read what it is sent, or
that makes the server answer faster than it reads, is cut off, and nobody else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import WSMsgType, web
from engineio.async_drivers import aiohttp as aiohttp_driver
from engineio.packet import OPEN

from rollgym.server.events.kinds import ClientDropped
from rollgym.server.events.stream import EventStream

_LOOK = 0.1
# Seconds between two looks at who has not answered its ping: with the default pings, dead is noticed within 2 s.

_LAST_WORD = 1.0
# Seconds in which a client that answered no ping can still read that it was given up.


class Mailbox(asyncio.Queue[Any]):
    """The packets that one client has not been sent yet. One too many, and the client is cut off."""

    def __init__(self, limit: int, ping_timeout: float, overflowed: Callable[[], None]) -> None:
        super().__init__()
        self._limit = limit
        self._ping_timeout = ping_timeout
        self._overflowed = overflowed
        self.request: web.Request | None = None
        """The connection it is for."""
        self.goodbye = False
        """The client has closed the connection, and not an accident."""

    def cut(self) -> None:
        """End the connection at once."""
        if self.request is not None and self.request.transport is not None:
            self.request.transport.abort()

    async def put(self, item: Any) -> None:
        # None is the library's end mark and always goes in.
        if item is not None and self.qsize() >= self._limit:
            self._overflowed()
            self.cut()
            return
        if item is not None and item.packet_type == OPEN:  # the library would announce its own
            item.data["pingTimeout"] = int(self._ping_timeout * 1000)
        self.put_nowait(item)


class _WebSocket(aiohttp_driver.WebSocket):  # type: ignore[misc]
    """The library's, which tells a closing handshake and a broken connection apart."""

    async def wait(self) -> Any:
        message = await self._sock.receive()
        if message.type is WSMsgType.CLOSE:
            request = self.environ["aiohttp.request"]
            for sock in list(self.server.sockets.values()):
                if sock.queue.request is request:
                    sock.queue.goodbye = True
        if not isinstance(message.data, bytes | str):
            raise OSError
        return message.data


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO with bounded mailboxes, whose connections also end well when a frame is not Engine.IO."""

    mailbox_limit: int
    answer_within: float
    """Seconds for the answer to a ping, while this process is not stalled itself."""
    events: EventStream
    _async: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._async = {**self._async, "websocket": _WebSocket}

    async def _service_task(self) -> None:
        """Notice who is silent for too long. The library looks at everybody once in a ``ping_timeout`` only."""
        self.service_task_event = self.create_event()
        looked = time.time()
        while not self.service_task_event.is_set():
            now = time.time()
            await self.look(now, max(0.0, now - looked - _LOOK))
            looked = now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.service_task_event.wait(), _LOOK)

    async def look(self, now: float, stalled: float) -> None:
        """Give up who has not answered its ping in time.

        ``stalled``: seconds for which this process was not scheduled, or did something else, since the last look.
        Nobody could be heard meanwhile, so everybody has that much more time.
        """
        for sid, sock in list(self.sockets.items()):
            if sock.closed:
                self.sockets.pop(sid, None)
            elif not sock.closing and sock.last_ping:
                sock.last_ping = min(now, sock.last_ping + stalled)
                if now - sock.last_ping > self.answer_within:
                    await sock.close(wait=False, abort=False, reason=self.reason.PING_TIMEOUT)
                    await sock.queue.put(None)
                    asyncio.get_running_loop().call_later(_LAST_WORD, sock.queue.cut)

    async def handle_request(self, request: web.Request) -> Any:
        try:
            return await super().handle_request(request)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            # The library decodes frames outside of its own error handling and leaves the session behind.
            text = repr(error)[:200]
            self.events.publish(ClientDropped(code="not_engineio", reason="a frame that is not Engine.IO", error=text))
            for sid, sock in list(self.sockets.items()):
                if sock.queue.request is request:
                    await sock.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)
                    await sock.queue.put(None)
                    sock.queue.cut()
                    self.sockets.pop(sid, None)
            return web.Response(status=400)

    def create_queue(self, *args: Any, **kwargs: Any) -> Any:
        return Mailbox(self.mailbox_limit, self.answer_within, self._overflowed)

    def _overflowed(self) -> None:
        self.events.publish(ClientDropped(code="not_reading", reason="it does not read what it is sent"))
