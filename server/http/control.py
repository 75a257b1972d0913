"""The control plane: Socket.IO with msgpack. Messages are in ``rollgym.protocol.messages``.

What is below it is in :mod:`rollgym.server.http.engine`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import socketio
import structlog
from aiohttp import web
from msgspec import Struct

from rollgym.protocol.messages import (
    CLIENT_EVENTS,
    NAMESPACE,
    SERVER_EVENTS,
    Finished,
    Join,
    Leave,
    MessageError,
    Resume,
    Signal,
    dump,
    parse,
)
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import (
    ClientConnected,
    ClientDisconnected,
    ClientDropped,
    ClientRefused,
    MessageRefused,
)
from rollgym.server.events.stream import EventStream
from rollgym.server.http.admission import host_of, refusal
from rollgym.server.http.engine import EngineServer
from rollgym.server.http.origins import allowed
from rollgym.server.lobby.matchmaker import Matchmaker
from rollgym.server.play.matches import Matches
from rollgym.server.settings import ServerSettings

log = structlog.get_logger("rollgym.server.http.control")

_CONNECT_WITHIN = 10.0
# Seconds between the two layers' handshakes. Clients send the second one at once.

_LIBRARY_TIMEOUT = 60.0
# The library's own ping timeout. It takes a stall of this process for the silence of all its clients, so we look
# ourselves, and it only has to be longer than anything that we wait for.

_HOST = "rollgym.host"
# Where it is noted with a connection whose it is.

_EVENT_OF = {kind: name for name, kind in SERVER_EVENTS.items()}

# The libraries log every malformed frame with a traceback; we log it ourselves, in one line.
_QUIET = logging.getLogger("server.socketio")
_QUIET.setLevel(logging.CRITICAL)


class ControlServer(socketio.AsyncServer):  # type: ignore[misc]
    """Socket.IO that refuses connections above a limit and cuts off who sends frames that are not Socket.IO."""

    def __init__(self, settings: ServerSettings, events: EventStream) -> None:
        super().__init__(
            async_mode="aiohttp",
            serializer="msgpack",
            transports=["websocket"],
            async_handlers=False,
            # The library's own check knows no port of a proxy, and no list beside its own origin.
            cors_allowed_origins=lambda origin, environ: allowed(
                origin, environ.get("HTTP_HOST", ""), settings.origins
            ),
            ping_interval=settings.ping_interval,
            ping_timeout=_LIBRARY_TIMEOUT,
            max_http_buffer_size=settings.limits.message_bytes,
            logger=_QUIET,
            engineio_logger=_QUIET,
        )
        self.eio.mailbox_limit = settings.limits.mailbox
        self.eio.answer_within = settings.ping_timeout
        self.eio.events = events
        self.most = settings.limits.connections
        """Connections at a time."""
        self._most_per_host = settings.limits.connections_per_host
        self._events = events

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        host = host_of(environ["aiohttp.request"].remote)
        present = (other.get(_HOST) for other in self.environ.values())
        reason = refusal(host, present, most=self.most, most_per_host=self._most_per_host)
        if reason is not None:
            self._events.publish(ClientRefused(code=reason.replace(" ", "_")))
            return reason
        environ[_HOST] = host
        self.eio.sockets[eio_sid].queue.request = environ["aiohttp.request"]
        asyncio.get_running_loop().call_later(_CONNECT_WITHIN, self._cut_if_silent, eio_sid)
        return await super()._handle_eio_connect(eio_sid, environ)

    def _cut_if_silent(self, eio_sid: str) -> None:
        """A connection that never says CONNECT holds a place and will never be a client."""
        if self.manager.sid_from_eio_sid(eio_sid, NAMESPACE) is None:
            self.cut(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, msgpack.UnpackException) as error:
            text = repr(error)[:200]
            self._events.publish(ClientDropped(code="not_socketio", reason="a frame that is not Socket.IO", error=text))
            self.cut(eio_sid)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        # The library would call its own connect and disconnect handlers for events of these names.
        if not isinstance(data, list) or not data or data[0] in self.reserved_events:
            raise ValueError("an event that is no list, or has a reserved name")
        await super()._handle_event(eio_sid, namespace, id, data)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        sock = self.eio.sockets.get(eio_sid)
        if reason == self.reason.TRANSPORT_CLOSE and sock is not None and sock.queue.goodbye:
            reason = self.reason.CLIENT_DISCONNECT
        await super()._handle_eio_disconnect(eio_sid, reason)

    def cut(self, eio_sid: str) -> None:
        """End a connection at once."""
        sock = self.eio.sockets.get(eio_sid)
        if sock is not None:
            sock.queue.cut()

    async def close_all(self, seconds: float) -> None:
        """Say goodbye to everyone, wait at most ``seconds`` for them to read it, then cut."""
        socks = list(self.eio.sockets.values())
        await asyncio.gather(*(sock.close(wait=False, reason=self.eio.reason.SERVER_DISCONNECT) for sock in socks))
        waiting = [asyncio.ensure_future(sock.queue.join()) for sock in socks]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for task in late:
                task.cancel()
        for sock in socks:
            await sock.queue.put(None)
            sock.queue.cut()
        await self.shutdown()


class Control:
    """The events of ``docs/protocol.md``, and messages to clients."""

    def __init__(self, sio: ControlServer, events: EventStream) -> None:
        self._sio = sio
        self._events = events
        self._matchmaker: Matchmaker
        self._matches: Matches
        self._actions: dict[str, Callable[[str, Any], Awaitable[dict[str, Any]]]] = {
            "join": self._join,
            "resume": self._resume,
            "leave": self._leave,
            "finished": self._finished,
            "signal": self._signal,
        }
        assert set(self._actions) == set(CLIENT_EVENTS)

    def serve(self, matchmaker: Matchmaker, matches: Matches) -> None:
        """Take events from now on."""
        self._matchmaker = matchmaker
        self._matches = matches
        self._sio.on("connect", self._connect)
        self._sio.on("disconnect", self._disconnect)
        self._sio.on("*", self._event)

    async def tell(self, client: str, message: Struct) -> None:
        """Send a message. A client that is gone gets nothing, and that is no error."""
        await self._sio.emit(_EVENT_OF[type(message)], dump(message), to=client)

    async def drop(self, client: str) -> None:
        """End a client's connection. One that is gone already does not mind."""
        eio_sid = self._sio.manager.eio_sid_from_sid(client, NAMESPACE)
        if eio_sid is not None:
            self._sio.cut(eio_sid)

    async def _connect(self, client: str, environ: dict[str, Any], auth: Any = None) -> None:
        request: web.Request = environ["aiohttp.request"]
        self._events.publish(ClientConnected(client=client, remote=request.remote))
        self._matchmaker.arrived(client)

    async def _disconnect(self, client: str, reason: str) -> None:
        self._events.publish(ClientDisconnected(client=client, reason=reason))
        await self._matchmaker.gone(client, reason)

    async def _event(self, event: Any, client: str, *arguments: Any) -> dict[str, Any]:
        try:
            return await self._answer(event, client, arguments)
        except RefusedError as error:
            name, text = str(event)[:64], str(error)
            self._events.publish(MessageRefused(client=client, event_name=name, code=error.code, error=text))
            return error.acknowledgement()
        except Exception:
            # The border of one client's event: whatever fails in it is logged with its traceback and told to that
            # client, and no other match is harmed.
            log.exception("event_failed", client=client, event_name=str(event)[:64])
            return RefusedError(500, "internal", "the server failed; it has been logged").acknowledgement()

    async def _answer(self, event: Any, client: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        kind = CLIENT_EVENTS.get(event) if isinstance(event, str) else None
        if kind is None:
            raise RefusedError(
                404,
                "unknown_event",
                f"event {str(event)[:64]!r}: expected one of {', '.join(CLIENT_EVENTS)}",
                field="event",
                expected=", ".join(CLIENT_EVENTS),
                actual=event,
            )
        if len(arguments) != 1:
            raise RefusedError(400, "bad_message", f"{len(arguments)} arguments: expected one map", field=event)
        try:
            message = parse(kind, arguments[0])
            dump(message)  # MessagePack has types that plain data has not; they would surprise us later
        except (MessageError, TypeError, RecursionError) as error:
            raise RefusedError(400, "bad_message", f"{event}: {error}", field=event) from error
        return await self._actions[event](client, message)

    async def _join(self, client: str, message: Join) -> dict[str, Any]:
        return {"ok": True, "participant": self._matchmaker.join(client, message)}

    async def _resume(self, client: str, message: Resume) -> dict[str, Any]:
        await self._matchmaker.resume(client, message)
        return {"ok": True}

    async def _leave(self, client: str, message: Leave) -> dict[str, Any]:
        await self._matchmaker.leave(client, message.reason)
        return {"ok": True}

    async def _finished(self, client: str, message: Finished) -> dict[str, Any]:
        if not await self._matches.finish(client):
            raise RefusedError(409, "not_in_match", "this connection plays no match")
        return {"ok": True}

    async def _signal(self, client: str, message: Signal) -> dict[str, Any]:
        await self._matches.signal(client, message)
        return {"ok": True}
