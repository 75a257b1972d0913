"""The real server in this process, on a chosen port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from rollgym.server.http.app import SERVER, create_app
from rollgym.server.http.server import Server
from rollgym.server.settings import ServerSettings


class Running:
    """A server that serves."""

    def __init__(self, app: web.Application, port: int) -> None:
        self.app = app
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def server(self) -> Server:
        return self.app[SERVER]


@asynccontextmanager
async def running(settings: ServerSettings, port: int = 0) -> AsyncIterator[Running]:
    """Start a server, stop it at the end. Port 0: any free one."""
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        yield Running(app, runner.addresses[0][1])
    finally:
        await runner.cleanup()
