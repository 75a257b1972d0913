"""Servers in processes of their own, that say how much processor time they have used; and clients that are paired."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from msgspec import Struct

from rollgym.client_sim.client.control import Control
from rollgym.games.identity import identity
from rollgym.games.registry import make
from rollgym.protocol.addresses import resolved
from rollgym.protocol.messages import MatchOver, MatchStart, Verdict
from rollgym.server.http.app import SERVER, create_app
from rollgym.server.http.serve import configure_logs
from rollgym.server.settings import Experiment, GameSettings, Limits, Play, ServerSettings

WAIT = 120.0
"""Seconds after which a benchmark gives up on something that never comes."""

_THREADS = {
    "MainThread": "event loop",
    "asyncio_": "thread pool",
    "catalogue": "catalogue's thread",
    "workers": "hand-over to workers",
}
"""What the threads of a server do, by the beginning of their names."""

CPU_PATH = "/cpu"
ECHO_PATH = "/echo"


def bare_echo(_: Any) -> web.Application:
    """The least an aiohttp server can do with a packet: send it back."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        async for message in ws:
            await ws.send_bytes(message.data)
        return ws

    async def cpu(_: web.Request) -> web.Response:
        return web.json_response({"event loop": time.process_time()})

    app = web.Application()
    app.router.add_get(ECHO_PATH, echo)
    app.router.add_get(CPU_PATH, cpu)
    return app


def real_server(settings: ServerSettings) -> web.Application:
    """The server as it is."""

    async def cpu(request: web.Request) -> web.Response:
        server = request.app[SERVER]
        checking, judging = [await pool.run(time.process_time) for pool in (server.workers, server.judges)]
        return web.json_response({**_by_thread(), "worker that checks": checking, "worker that judges": judging})

    app = create_app(settings)
    app.router.add_get(CPU_PATH, cpu)
    return app


def _by_thread() -> dict[str, float]:
    """Processor time of this process, by what its threads do."""
    found: defaultdict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.ident is not None:
            names = (name for start, name in _THREADS.items() if thread.name.startswith(start))
            found[next(names, "other threads")] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    found["other threads"] += max(0.0, time.process_time() - sum(found.values()))
    return dict(found)


def settings_for(data: Path, play: Play, matches: int) -> ServerSettings:
    """A server of drift that refuses nothing for being too much."""
    experiment = Experiment(name="benchmark", game=GameSettings(id="drift"), play=play, seed=1, matches=matches)
    limits = Limits(free_bytes=0, relay_packets_per_second=1e9)
    return ServerSettings(port=0, data=data, experiment=experiment, limits=limits, ping_interval=30, ping_timeout=30)


@contextmanager
def serving(build: Callable[[Any], web.Application], settings: Any) -> Iterator[str]:
    """A server in a fresh process, with one worker of each kind if it has any; gives its URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(build, settings, theirs))
    process.start()
    try:
        if not ours.poll(WAIT):
            raise AssertionError("the server did not come up")
        yield f"http://127.0.0.1:{ours.recv()}"
        ours.send(None)
        process.join(WAIT)
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def _serve(build: Callable[[Any], web.Application], settings: Any, parent: Connection) -> None:
    configure_logs(json=True, level="error")

    async def run() -> None:
        runner = web.AppRunner(build(settings), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        parent.send(runner.addresses[0][1])
        await asyncio.to_thread(parent.recv)
        await runner.cleanup()

    uvloop.run(run())


async def cpu_seconds(http: aiohttp.ClientSession, url: str) -> float:
    """Processor time that the server at ``url`` has used, its workers included."""
    return sum((await cpu_by_place(http, url)).values())


async def cpu_by_place(http: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """The same, by thread of the server process and by worker."""
    async with http.get(url + CPU_PATH) as response:
        found: dict[str, float] = await response.json()
        return found


class Seat:
    """A client that is in a match."""

    def __init__(self, url: str) -> None:
        self.started: asyncio.Future[MatchStart] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self.verdicts: list[str] = []
        self.control = Control(url, on_message=self._hear, on_lost=lambda _: self.over.set())

    def _hear(self, message: Struct) -> None:
        if isinstance(message, MatchStart):
            self.started.set_result(message)
        elif isinstance(message, Verdict):
            self.verdicts.append(message.verdict)
        elif isinstance(message, MatchOver):
            self.over.set()


@asynccontextmanager
async def paired(url: str) -> AsyncIterator[tuple[Seat, Seat]]:
    """Two clients that the server has put into one match, in player order."""
    seats = (Seat(url), Seat(url))
    game = identity(make("drift", {}).spec)
    try:
        for seat in seats:
            await seat.control.connect()
            await seat.control.join(game, None, {})
        starts = [await asyncio.wait_for(seat.started, WAIT) for seat in seats]
        first, second = seats if starts[0].player == 0 else reversed(seats)
        yield first, second
    finally:
        for seat in seats:
            await seat.control.close()


@asynccontextmanager
async def on_relay(http: aiohttp.ClientSession, url: str, seat: Seat) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The data connection of a seat."""
    start = seat.started.result()
    headers = {"Authorization": f"Bearer {start.ticket}"}
    async with http.ws_connect(resolved(url, start.transports[0].address), headers=headers, compress=0) as ws:
        yield ws
