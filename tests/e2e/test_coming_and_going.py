"""Clients that wait, are lost, come back, or are behind a proxy."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from rollgym.client_sim.client.client import BotPlayer, play
from rollgym.client_sim.client.control_errors import NobodyCame
from rollgym.client_sim.client.results import ClientEvent, Joined, Paired, PlayResult, Progress
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.protocol.messages import MatchStart, Waiting
from rollgym.running.bots import Client as BotClient
from rollgym.running.bots import Finished, Returning, run_clients
from rollgym.server.http.status import status
from rollgym.server.settings import Play, ServerSettings
from tests.e2e.serving import running
from tests.patience import PATIENCE
from tests.server.clients import Client, make_settings, until

BOT = BotPlayer("drift", "random_hold", seed=1)


def settings(data: Path, frames: int = 60) -> ServerSettings:
    quick = Play(episodes=1, frame_limit=frames, fps=120.0, input_delay=1, disconnect_timeout=20.0)
    return make_settings(data, play=quick, upload_grace=0.0)


def assert_verified(result: PlayResult) -> None:
    assert [e.status for e in result.episodes] == ["complete"]
    assert [v.verdict for v in result.verdicts.values()] == ["verified"]


async def test_a_match_that_is_annulled_before_this_client_looks_leads_back_to_the_queue(tmp_path: Path) -> None:
    """The client's loop does not run (a page fault storm, SIGSTOP) from its joining until the match is gone again."""
    joined, go_on = threading.Event(), threading.Event()
    paired: list[str] = []

    def heard(event: ClientEvent) -> None:
        if isinstance(event, Joined):
            joined.set()
            assert go_on.wait(PATIENCE)
        elif isinstance(event, Paired):
            paired.append(event.match)

    def asleep(url: str) -> PlayResult:
        return asyncio.run(play(url, BOT, spool=tmp_path / "ann", on_event=heard))

    async with running(settings(tmp_path / "data")) as server:
        ann = asyncio.create_task(asyncio.to_thread(asleep, server.url))
        await asyncio.to_thread(joined.wait, PATIENCE)
        async with Client(server.url) as lost:
            await lost.join()
            await lost.expect(MatchStart)
        await until(lambda: not server.server.matches.live)
        go_on.set()
        bob = play(server.url, BOT, spool=tmp_path / "bob")
        results = await asyncio.gather(ann, bob)
    for result in results:
        assert_verified(result)
    assert paired[-1] == results[1].match  # it may have begun the other before it heard that there is none


async def test_a_lone_client_hears_that_it_is_alone_and_gives_up_in_the_time_it_was_given(tmp_path: Path) -> None:
    events: list[ClientEvent] = []
    async with running(settings(tmp_path / "data")) as server:
        with pytest.raises(NobodyCame, match=r"no partner came within 0\.5 s"):
            await play(server.url, BOT, spool=tmp_path / "ann", wait=0.5, on_event=events.append)
        await until(lambda: server.server.matchmaker.desks[0].lobby.waiting == 0)
    assert [(event.waiting, event.needed) for event in events if isinstance(event, Waiting)] == [(1, 2)]


async def fleet(url: str, folder: Path, heard: list[tuple[int, object]], news: asyncio.Event) -> list[Finished]:
    def hear(index: int, event: object) -> None:
        heard.append((index, event))
        news.set()

    clients = [BotClient(f"bot {n}", BotPlayer("drift", "random_hold", seed=n), n) for n in (0, 1)]
    return await run_clients(
        url,
        clients,
        network=Link.both(NetworkConditions()),
        spool=folder / "spool",
        keep=None,
        said={},
        on_event=hear,
        wait=PATIENCE,
        reconnect=True,
    )


async def until_heard(heard: list[tuple[int, object]], news: asyncio.Event, kind: type, at_least: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len({index for index, event in heard if isinstance(event, kind)}) < at_least:
            news.clear()
            await news.wait()


async def test_a_fleet_that_loses_its_server_comes_back_brings_what_it_has_and_plays_again(tmp_path: Path) -> None:
    heard: list[tuple[int, object]] = []
    news = asyncio.Event()
    long = settings(tmp_path / "data", frames=100_000)
    lost = long.model_copy(
        update={
            "experiment": long.experiment.model_copy(
                update={"play": Play(**{**long.experiment.play.model_dump(), "disconnect_timeout": 1.0})}
            )
        }
    )
    async with running(lost) as server:
        port = server.port
        playing = asyncio.create_task(fleet(server.url, tmp_path, heard, news))
        await until_heard(heard, news, Progress, 2)
    await until_heard(heard, news, Returning, 2)
    async with running(settings(tmp_path / "data"), port=port) as server:
        results = await playing
        shown = await status(server.server)
    for finished in results:
        assert_verified(finished.result)
    first, second = (
        ({event.match for _, event in heard if isinstance(event, Paired)} - {r.result.match for r in results}),
        {finished.result.match for finished in results},
    )
    assert len(first) == len(second) == 1
    assert list((tmp_path / "spool").glob("*.export")) == []
    assert shown["verdicts"]["verified"] == 1


PREFIX = "/lab/rollgym"


async def proxied(target: str) -> web.AppRunner:
    """A reverse proxy as labs have it: what is below :data:`PREFIX` goes to the server without it, all else is 404."""
    session = aiohttp.ClientSession(auto_decompress=False)

    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.path.startswith(PREFIX + "/"):
            return web.Response(status=404)
        url = target + request.path_qs[len(PREFIX) :]
        headers = {
            name: request.headers[name]
            for name in ("Authorization", "Content-Type", "Content-Encoding")
            if name in request.headers
        }
        if request.headers.get("Upgrade", "").lower() == "websocket":
            async with session.ws_connect(url, headers=headers, max_msg_size=0) as up:
                down = web.WebSocketResponse()
                await down.prepare(request)
                await asyncio.gather(pump(up, down), pump(down, up))
                return down
        async with session.request(request.method, url, headers=headers, data=await request.read()) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def pump(
        one: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
        other: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    ) -> None:
        async for message in one:
            if message.type is aiohttp.WSMsgType.BINARY:
                await other.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await other.send_str(message.data)
        await other.close()

    async def end(app: web.Application) -> None:
        await session.close()

    app = web.Application(client_max_size=1 << 26, handler_args={"auto_decompress": False})
    app.router.add_route("*", "/{tail:.*}", handle)
    app.on_cleanup.append(end)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def test_everything_goes_through_the_prefix_of_a_proxy(tmp_path: Path) -> None:
    async with running(settings(tmp_path / "data")) as server:
        proxy = await proxied(server.url)
        url = f"http://127.0.0.1:{proxy.addresses[0][1]}{PREFIX}/"
        try:
            results = await asyncio.gather(*[play(url, BOT, spool=tmp_path / name) for name in ("ann", "bob")])
        finally:
            await proxy.cleanup()
    for result in results:
        assert_verified(result)
        assert result.stats["transport"]["received"] > 60
