"""The server as an aiohttp application: its addresses, and what answers there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from rollgym.games.description import Description
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import ClientRefused
from rollgym.server.http.origins import guard
from rollgym.server.http.server import Server
from rollgym.server.http.status import status
from rollgym.server.metrics import CONTENT_TYPE
from rollgym.server.play.addresses import RELAY_PATH
from rollgym.server.play.signs import Signs
from rollgym.server.settings import Experiment, ServerSettings
from rollgym.server.tickets import presented

SERVER = web.AppKey("server", Server)


def create_app(
    settings: ServerSettings,
    description: Description | None = None,
    *,
    once: bool = False,
    experiments: Sequence[Experiment] = (),
) -> web.Application:
    """The application. Its parts are in ``app[SERVER]`` once it runs. Starting it raises :class:`ServerError`.

    The arguments are those of :class:`~rollgym.server.http.server.Server`.
    """
    server = Server(settings, description, once=once, experiments=experiments)
    # Uploads are decompressed where they are bounded (body.py); here an encoding is refused with a plain text.
    app = web.Application(
        client_max_size=settings.limits.upload_bytes,
        handler_args={"auto_decompress": False},
        middlewares=[guard(settings.origins)],
    )
    app[SERVER] = server
    server.sio.attach(app)
    app.router.add_get("/health", _health)
    app.router.add_get("/ready", _ready)
    app.router.add_get("/status", _status)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get(RELAY_PATH, _relay)
    app.router.add_put(r"/matches/{match}/episodes/{episode:[0-9]{1,7}}", _upload)
    app.cleanup_ctx.append(_run)
    app.on_shutdown.append(_goodbye)
    return app


async def _run(app: web.Application) -> AsyncIterator[None]:
    server = app[SERVER]
    try:
        await server.start()
        pairing = asyncio.create_task(server.matchmaker.run())
        yield
        pairing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pairing
    finally:
        await server.stop()


async def _goodbye(app: web.Application) -> None:
    await app[SERVER].say_goodbye()


async def _health(request: web.Request) -> web.Response:
    """Whether the process is worth keeping: nothing that only a restart mends."""
    return _well(request.app[SERVER], request.app[SERVER].parts().lasting())


async def _ready(request: web.Request) -> web.Response:
    """Whether a match that began now could be played and recorded."""
    server = request.app[SERVER]
    return _well(server, await server.parts().present())


def _well(server: Server, found: dict[str, str]) -> web.Response:
    if server.stopping:
        found = {"server": "it is stopping", **found}
    if not found:
        return web.json_response({"ok": True})
    return web.json_response({"ok": False, "troubles": found}, status=503)


async def _status(request: web.Request) -> web.Response:
    return web.json_response(await status(request.app[SERVER]))


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[SERVER].metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _upload(request: web.Request) -> web.Response:
    server = request.app[SERVER]
    signs = _signs(server, request)
    if signs is None:
        return await server.ingest.put(request)
    stored = False
    signs.upload_begins()
    try:
        response = await server.ingest.put(request)
        stored = response.status == 200
        return response
    finally:
        signs.upload_ends(asyncio.get_running_loop().time(), stored=stored)


def _signs(server: Server, request: web.Request) -> Signs | None:
    """Where it is noted what is heard of the player whose upload it is; None if it plays no match now."""
    try:
        holder = server.matches.table.holder(presented(request))
    except RefusedError:
        return None  # which is said by whoever takes the upload in
    match = None if holder is None else server.matches.get(holder.match)
    return None if holder is None or match is None else match.seats[holder.player].signs


async def _relay(request: web.Request) -> web.StreamResponse:
    server = request.app[SERVER]
    try:
        holder = server.matches.table.holder(presented(request))
        if holder is None:
            raise RefusedError(401, "bad_ticket", "the ticket is not valid, or its match is over")
        match = server.matches.get(holder.match)
        if match is None or match.seats[holder.player].left_at is not None:
            raise RefusedError(403, "left", "this player has left the match")
    except RefusedError as error:
        server.events.publish(ClientRefused(code=error.code))
        return web.json_response(error.acknowledgement(), status=error.status)
    return await server.relay.serve(
        request,
        holder.match,
        holder.player,
        players=len(match.seats),
        signs=match.seats[holder.player].signs,
        opened=lambda: server.matches.relay_opened(holder.match, holder.player),
    )
