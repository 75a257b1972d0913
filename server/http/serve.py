"""Run the server: bind, serve, and end well when told to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable

import structlog
from aiohttp import web

from rollgym.games.description import Description
from rollgym.processes.stop_signals import stop_on_signals
from rollgym.server.errors import ServerError
from rollgym.server.http.app import SERVER, create_app
from rollgym.server.http.library_logs import adopt
from rollgym.server.http.silence import Silence
from rollgym.server.settings import ServerSettings

log = structlog.get_logger("server")

_BACKLOG = 512
_STUCK = 0.2
# Seconds for handlers that are still there after the application has said goodbye.


async def serve(
    settings: ServerSettings,
    *,
    description: Description | None = None,
    once: bool = False,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    signals: bool = True,
) -> None:
    """Serve until SIGTERM, SIGINT, SIGHUP, ``stop``, or (``exit_when_done``, ``once``) the last match.

    ``description`` is the game's, if it is known already. ``once``: one match, whatever the experiment asks for.
    ``ready`` is called with the server's URL once clients are served. Raises :class:`ServerError` if the server cannot
    start: an occupied port, a data folder that cannot be used, an unknown game.
    """
    app = create_app(settings, description, once=once)
    server = app[SERVER]
    stop = stop or asyncio.Event()
    await server.check()
    bound = bind(settings.host, settings.port)
    # The application drains its own work first (settings.grace); what is left then are stuck connections.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STUCK)
    with contextlib.closing(bound), stop_on_signals(stop) if signals else contextlib.nullcontext():
        await runner.setup()
        assert runner.server is not None
        silence = Silence(settings.limits.join_seconds, asyncio.get_running_loop().time)
        watching = asyncio.create_task(silence.watch(runner.server))
        try:
            await web.SockSite(runner, bound, backlog=_BACKLOG).start()
            url = _url(settings.host, bound.getsockname()[1])
            games = [description.game.id for description in server.descriptions]
            log.info("serving", url=url, game=games[0], experiment=settings.experiment.name)
            if ready is not None:
                ready(url)
            await _wait(stop, server.matches.done if settings.exit_when_done or once else None)
            log.info("stopping")
        finally:
            watching.cancel()
            await runner.cleanup()
    log.info("stopped")


async def _wait(*events: asyncio.Event | None) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def bind(host: str, port: int) -> socket.socket:
    """A listening address. Raises :class:`ServerError` that says what is wrong with it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ServerError(f"host {host!r}: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Before anything is opened: of two servers that start together only one gets past this line.
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ServerError(f"port {port} on {host} is occupied: stop what uses it, or choose another") from error
        raise ServerError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


def _url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "", "::") else host  # noqa: S104 - a comparison
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def configure_logs(*, json: bool | None = None, level: str = "info") -> None:
    """structlog to stderr: JSON, or pretty lines in a terminal (None: decide by looking)."""
    as_json = not sys.stderr.isatty() if json is None else json
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.dict_tracebacks] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    adopt()


def main_serve(
    settings: ServerSettings,
    *,
    description: Description | None = None,
    once: bool = False,
    ready: Callable[[str], None] | None = None,
) -> None:
    """:func:`serve` in a loop of its own (uvloop if it is there). Raises :class:`ServerError`."""
    serving = serve(settings, description=description, once=once, ready=ready)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)
