"""A running server on a free port, and clients of it. Everything goes over real sockets."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import socketio
from aiohttp import web
from msgspec import Struct

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.processes.workers import Workers
from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import (
    SERVER_EVENTS,
    ErrorReply,
    GameIdentity,
    Join,
    MatchOver,
    MatchStart,
    PeerLeft,
    Resume,
    Verdict,
    Waiting,
    dump,
    parse,
)
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.http.app import SERVER, create_app
from rollgym.server.http.server import Server
from rollgym.server.settings import Experiment, GameSettings, Limits, Play, ServerSettings
from tests.patience import PATIENCE
from tests.server.exports import PLAY

WAIT = PATIENCE

M = TypeVar("M", bound=Struct)


def make_settings(data: Path, *, limits: Limits | None = None, **experiment: Any) -> ServerSettings:
    """A server for drift on a free port."""
    play = Play(episodes=PLAY.episodes, frame_limit=PLAY.frame_limit, disconnect_timeout=PLAY.disconnect_timeout)
    values: dict[str, Any] = {"game": GameSettings(id="drift"), "play": play, "seed": 5, "upload_grace": 0.0}
    return ServerSettings(
        port=0,
        data=data,
        experiment=Experiment(**{**values, **experiment}),
        limits=limits or Limits(free_bytes=0),
        # A loaded machine must not look like a dead peer.
        ping_interval=5,
        ping_timeout=20,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the server go on until something holds of its state. For states that it tells nobody."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


class Running:
    """A server in this process."""

    def __init__(self, app: web.Application, runner: web.AppRunner) -> None:
        self.app = app
        self.runner = runner
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    @property
    def server(self) -> Server:
        return self.app[SERVER]


class KeptWorkers(Workers):
    """Workers that outlive the server: starting them takes longer than most tests."""

    def close(self) -> None:
        """The next server goes on with them."""

    def end(self) -> None:
        """No more tests."""
        super().close()


WORKERS = KeptWorkers(1)
JUDGES = KeptWorkers(1)
for _kept in (WORKERS, JUDGES):
    atexit.register(_kept.end)


@asynccontextmanager
async def running(
    settings: ServerSettings, *, once: bool = False, experiments: Sequence[Experiment] = ()
) -> AsyncIterator[Running]:
    """Start a server, stop it at the end."""
    app = create_app(settings, once=once, experiments=experiments)
    app[SERVER].workers, app[SERVER].judges = WORKERS, JUDGES
    WORKERS.deaths = JUDGES.deaths = 0
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Running(app, runner)
    finally:
        await runner.cleanup()


class Client:
    """One headless client: the control connection and what it heard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = aiohttp.ClientSession()
        self.sio = socketio.AsyncClient(serializer="msgpack", reconnection=False, http_session=self.http)
        self.heard: asyncio.Queue[Struct] = asyncio.Queue()
        self.earlier: list[Struct] = []
        self.notices: list[Waiting] = []
        """How many waited, as it was told."""
        self.gone = asyncio.Event()
        for name, kind in SERVER_EVENTS.items():
            self.sio.on(name, self._listener(kind))
        self.sio.on("disconnect", self._disconnected)

    def _listener(self, kind: type[Struct]) -> Callable[[Any], None]:
        def hear(payload: Any) -> None:
            message = parse(kind, payload)
            if isinstance(message, Waiting):
                self.notices.append(message)
            else:
                self.heard.put_nowait(message)

        return hear

    def _disconnected(self, *_: Any) -> None:
        self.gone.set()

    async def __aenter__(self) -> Client:
        await self.sio.connect(self.url, transports=["websocket"], wait_timeout=PATIENCE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave politely."""
        await self.sio.disconnect()
        if self.sio.eio.ws is not None:
            self.sio.eio.ws._response.close()  # also if the server was gone before it could be closed well
        await self.http.close()

    async def kill(self) -> None:
        """Vanish: the TCP connection is reset without a goodbye."""
        self.sio.eio.ws._response.connection.transport.abort()
        await asyncio.wait_for(self.gone.wait(), WAIT)

    async def call(self, event: str, payload: Any) -> dict[str, Any]:
        """Send an event and give its acknowledgement."""
        answer: dict[str, Any] = await self.sio.call(event, payload, timeout=WAIT)
        return answer

    async def join(
        self, *, game: GameIdentity | None = None, protocol: int = PROTOCOL_VERSION, name: str | None = None
    ) -> dict[str, Any]:
        """Ask to be paired."""
        message = Join(protocol, game or identity(Drift().spec), name, {"client": "test"})
        return await self.call("join", dump(message))

    async def resume(self, start: MatchStart, token: str, new_token: str, heard: int = 0) -> dict[str, Any]:
        """Ask for the seat of a match again."""
        return await self.call("resume", dump(Resume(PROTOCOL_VERSION, start.match, token, new_token, heard)))

    async def expect(self, kind: type[M]) -> M:
        """The next message of a kind; others that come before it are kept."""
        for message in self.earlier:
            if isinstance(message, kind):
                self.earlier.remove(message)
                return message
        while True:
            message = await asyncio.wait_for(self.heard.get(), WAIT)
            if isinstance(message, kind):
                return message
            assert not isinstance(message, ErrorReply), message
            self.earlier.append(message)

    async def start(self) -> MatchStart:
        return await self.expect(MatchStart)

    async def verdict(self) -> Verdict:
        return await self.expect(Verdict)

    async def over(self) -> MatchOver:
        return await self.expect(MatchOver)

    async def peer_left(self) -> PeerLeft:
        return await self.expect(PeerLeft)

    async def relay(self, start: MatchStart) -> aiohttp.ClientWebSocketResponse:
        """Open the relay."""
        return await self.http.ws_connect(
            resolved(self.url, start.transports[0].address),
            headers={"Authorization": f"Bearer {start.ticket}"},
            max_msg_size=4096,
        )

    async def put(
        self, start: MatchStart, body: bytes, *, episode: int = 0, ticket: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Upload a body; status and answer."""
        sent = {"Authorization": f"Bearer {ticket or start.ticket}", "Content-Type": "application/msgpack"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        url = resolved(self.url, start.upload.replace("{episode}", str(episode)))
        async with self.http.put(url, data=body, headers=sent) as response:
            # aiohttp itself answers in plain text to what it cannot even parse.
            as_json = response.content_type == "application/json"
            return response.status, await response.json() if as_json else {"error": {"code": "not_http"}}

    async def upload(self, start: MatchStart, export: Export) -> str:
        """Upload an export that must be accepted; what the server did with it."""
        status, answer = await self.put(start, encode_export(export), episode=export.header.episode)
        assert status == 200, answer
        stored: str = answer["stored"]
        return stored


@asynccontextmanager
async def pair(url: str) -> AsyncIterator[tuple[tuple[Client, MatchStart], tuple[Client, MatchStart]]]:
    """Two clients in one match, both on the relay, in player order."""
    async with Client(url) as one, Client(url) as two:
        await one.join(name="one")
        await two.join(name="two")
        starts = [await one.start(), await two.start()]
        lines = [await one.relay(starts[0]), await two.relay(starts[1])]
        yield (one, starts[0]), (two, starts[1])
        for line in lines:
            await line.close()
