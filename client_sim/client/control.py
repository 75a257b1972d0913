"""The control connection: Socket.IO with msgpack over a WebSocket. Joining, being paired, and the server's word.

It carries no game traffic, and one object is one connection: ``rollgym.client_sim.client.reconnecting_control``
replaces one that broke in the middle of a match. What is still to be uploaded needs only the ticket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio
import structlog

from rollgym.client_sim.client.control_errors import ConnectionLost, ControlError, JoinRefused, ServerUnreachable
from rollgym.protocol.messages import (
    CLIENT_EVENTS,
    NAMESPACE,
    SERVER_EVENTS,
    ErrorReply,
    Finished,
    GameIdentity,
    Join,
    Leave,
    MatchOver,
    MatchStart,
    MessageError,
    PeerLeft,
    Resume,
    Verdict,
    Waiting,
    dump,
    parse,
)
from rollgym.protocol.version import PROTOCOL_VERSION

log = structlog.get_logger(__name__)

# The libraries say on stderr, in their own form, that a connection broke; whoever asked for it is told anyhow.
_QUIET = logging.getLogger("client_sim.socketio")
_QUIET.setLevel(logging.CRITICAL)

CONNECT_TIMEOUT = 5.0
"""Seconds for the connection, and again for each acknowledgement."""

CLOSE_TIMEOUT = 0.3
"""Seconds for a polite goodbye; then the connection is cut."""

MAX_MESSAGE = 1 << 20
"""Bytes of one control message from the server."""

MAX_BAD = 100
"""Messages from the server that are no messages of the protocol, after which the connection is given up."""

ServerMessage = MatchStart | PeerLeft | Verdict | MatchOver | Waiting | ErrorReply

_NAMES = {kind: name for name, kind in CLIENT_EVENTS.items()}


class Control:
    """One client's control connection.

    ``on_message`` gets every valid message of the server after the connection is up; ``on_lost`` is called once if it
    breaks without our doing. Both run in the event loop and must not block.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[ServerMessage], None],
        on_lost: Callable[[str], None],
        timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self.url = url
        self._on_message = on_message
        self._on_lost = on_lost
        self._timeout = timeout
        self._bad = 0
        self._closing = False
        self._lost: asyncio.Event = asyncio.Event()
        self._reason = ""
        self._session: aiohttp.ClientSession | None = None
        self._sio: Any = None

    @property
    def lost(self) -> bool:
        """The connection has ended."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raises :class:`ConnectionLost` if the connection has ended."""
        if self.lost:
            raise ConnectionLost(self._reason)

    async def connect(self) -> None:
        """Raises :class:`ServerUnreachable`."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._sio = socketio.AsyncClient(
            serializer="msgpack",
            reconnection=False,
            handle_sigint=False,
            request_timeout=CLOSE_TIMEOUT,
            logger=_QUIET,
            engineio_logger=_QUIET,
            http_session=self._session,
            websocket_extra_options={"max_msg_size": MAX_MESSAGE},
        )
        for name in SERVER_EVENTS:
            self._sio.on(name, self._handler(name), namespace=NAMESPACE)
        self._sio.on("disconnect", self._disconnected, namespace=NAMESPACE)
        try:
            async with asyncio.timeout(self._timeout):
                await self._sio.connect(
                    self.url,
                    transports=["websocket"],
                    namespaces=[NAMESPACE],
                    socketio_path=f"{urlsplit(self.url).path.strip('/')}/socket.io".lstrip("/"),
                    wait_timeout=self._timeout,
                )
        except TimeoutError as error:
            raise ServerUnreachable(self.url, f"no answer within {self._timeout:g} s") from error
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            # ValueError and KeyError: something that is not a Socket.IO server answers there.
            raise ServerUnreachable(self.url, _because(error)) from error

    async def join(self, game: GameIdentity, participant: str | None, software: dict[str, str]) -> str:
        """Ask to be paired; the participant's name as the server knows it.

        Raises :class:`JoinRefused` with the server's reason, :class:`ConnectionLost`.
        """
        answer = await self._call(Join(PROTOCOL_VERSION, game, participant, software))
        name = answer.get("participant")
        if not isinstance(name, str) or not name:
            raise JoinRefused(ErrorReply("bad_answer", "the server names no participant", "participant", "text", name))
        return name

    async def resume(self, match: str, token: str, new_token: str, heard: int) -> None:
        """Take the seat of a match again. Raises as :meth:`join`."""
        await self._call(Resume(PROTOCOL_VERSION, match, token, new_token, heard))

    async def finished(self, episodes: int) -> None:
        """Say that everything was played and uploaded. Raises as :meth:`join`."""
        await self._call(Finished(episodes))

    async def leave(self, reason: str, *, within: float) -> None:
        """Say that this client stops, if it still can. Raises nothing: who leaves has no use for an error."""
        try:
            await self._call(Leave(reason[:1024]), max(0.0, within))
        except ControlError as error:
            log.debug("leaving was not acknowledged", error=str(error))

    async def close(self, *, within: float = 2 * CLOSE_TIMEOUT) -> None:
        """End the connection: politely, or after ``within`` seconds anyhow."""
        self._closing = True
        if self._sio is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._sio.disconnect()
        if self._session is not None:
            await self._session.close()

    async def _call(self, message: Join | Resume | Finished | Leave, within: float | None = None) -> dict[str, Any]:
        """Send an event and return its acknowledgement, if that says ok."""
        within = self._timeout if within is None else within
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def acknowledge(*answer: Any) -> None:
            if not acknowledged.done():
                acknowledged.set_result(answer[0] if answer else None)

        if self.lost or self._sio is None:
            raise ConnectionLost(self._reason or "never connected")
        name = _NAMES[type(message)]
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            async with asyncio.timeout(within):
                await self._sio.emit(name, dump(message), namespace=NAMESPACE, callback=acknowledge)
                await asyncio.wait((acknowledged, lost), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise ConnectionLost(f"{name} was not acknowledged within {within:g} s") from error
        except socketio.exceptions.SocketIOError as error:
            # emit() says so if the connection has ended.
            raise ConnectionLost(self._reason or _because(error)) from error
        finally:
            lost.cancel()
        if not acknowledged.done():
            raise ConnectionLost(self._reason)
        return _accepted(name, acknowledged.result())

    def _handler(self, name: str) -> Callable[..., None]:
        kind = SERVER_EVENTS[name]

        def handle(*payload: Any) -> None:
            try:
                message = parse(kind, payload[0] if len(payload) == 1 else payload)
            except MessageError as error:
                self._refuse(name, str(error))
                return
            assert isinstance(message, ServerMessage)
            self._on_message(message)

        return handle

    def _refuse(self, name: str, reason: str) -> None:
        self._bad += 1
        log.warning("message from the server not understood", event_name=name, reason=reason)
        if self._bad >= MAX_BAD:
            self._end(f"{self._bad} messages that are none of the protocol")

    def _disconnected(self, reason: Any = "", *_: Any) -> None:
        self._end(str(reason) or "closed")

    def _end(self, reason: str) -> None:
        if not self.lost:
            self._reason = reason
            self._lost.set()
            if not self._closing:
                self._on_lost(reason)


def _accepted(name: str, answer: Any) -> dict[str, Any]:
    if isinstance(answer, dict) and answer.get("ok") is True:
        return answer
    try:
        reply = parse(ErrorReply, answer.get("error") if isinstance(answer, dict) else answer)
    except MessageError:
        reply = ErrorReply(
            "bad_answer", f"the server's answer to {name} is not understood", "", None, repr(answer)[:200]
        )
    raise JoinRefused(reply)


def _because(error: BaseException) -> str:
    """The innermost reason: engineio's own text is only "Connection error"."""
    reason = str(error) or type(error).__name__
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            reason = os.strerror(cause.errno)
        elif str(cause):
            reason = str(cause)
        cause = cause.__cause__ or cause.__context__
    return reason
