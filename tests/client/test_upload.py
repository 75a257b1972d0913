"""The uploader against a real HTTP server: at least once over the wire, exactly once in effect, and never lost."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rollgym.client_sim.exports.spool import Spool, SpoolError, pack
from rollgym.client_sim.exports.upload import BACKOFF_MOST, Refused, Stored, Uploader, UploadResult
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import decode_export
from tests.client.exports import played
from tests.patience import PATIENCE

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ingest:
    """Stores uploads; answers from ``script`` come first, one per request."""

    def __init__(self) -> None:
        self.stored: dict[str, Export] = {}
        self.requests: list[tuple[str, str]] = []
        self.script: list[Answer | int | None] = []
        self.arrived = asyncio.Event()
        app = web.Application(client_max_size=1 << 24)
        app.router.add_put("/matches/{match}/episodes/{episode}", self.put)
        self.server = TestServer(app)

    def url(self, episode: int) -> str:
        return str(self.server.make_url(f"/matches/m/episodes/{episode}"))

    async def put(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, request.headers["Authorization"]))
        self.arrived.set()
        step = self.script.pop(0) if self.script else None
        if callable(step):
            return await step(request)
        if isinstance(step, int):
            return web.json_response({"code": "scripted", "message": f"as told: {step}"}, status=step)
        return await self.store(request)

    async def store(self, request: web.Request) -> web.Response:
        assert request.headers["Content-Encoding"] == "deflate"
        export = decode_export(await request.read())  # aiohttp has undone the encoding
        before = self.stored.get(request.path)
        if before is not None and before != export:
            return web.json_response({"code": "conflict", "message": "differs"}, status=409)
        self.stored[request.path] = export
        return web.json_response({"ok": True, "stored": "new" if before is None else "same"})


@pytest.fixture
async def ingest() -> AsyncIterator[Ingest]:
    ingest = Ingest()
    await ingest.server.start_server()
    yield ingest
    await ingest.server.close()


class Setup:
    """An uploader whose back-off takes no time, and what it reported."""

    def __init__(self, folder: Path, spool: Spool | None = None) -> None:
        self.spool = spool or Spool(folder)
        self.results: list[UploadResult] = []
        self.naps: list[float] = []
        self.uploader = Uploader(self.spool, on_result=self.results.append, rng=random.Random(1), sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await asyncio.sleep(0)

    async def finish(self) -> None:
        assert await self.uploader.drain(20.0)
        await self.uploader.close()

    @property
    def left(self) -> int:
        return sum(1 for _ in self.spool.pending())


async def test_every_export_arrives_and_leaves_the_spool(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    for episode, export in enumerate(played()[0]):
        setup.uploader.submit(setup.spool.take(export, ingest.url(episode), f"ticket-{episode}"))
    await setup.finish()
    assert list(ingest.stored.values()) == [played()[0][int(path[-1])] for path in ingest.stored]
    assert len(ingest.stored) == 3
    assert {ticket for _, ticket in ingest.requests} == {f"Bearer ticket-{n}" for n in range(3)}
    assert all(isinstance(result, Stored) and not result.again for result in setup.results)
    assert setup.left == 0


async def test_it_is_on_the_disk_before_the_first_byte_is_sent(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    seen: list[int] = []

    async def look(request: web.Request) -> web.Response:
        seen.append(setup.left)
        return await ingest.store(request)

    ingest.script = [look]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert seen == [1]
    assert setup.left == 0


@pytest.mark.parametrize("status", [500, 503, 507, 429, 401, 404, 408, 302])
async def test_what_may_heal_is_tried_again(ingest: Ingest, tmp_path: Path, status: int) -> None:
    setup = Setup(tmp_path)
    ingest.script = [status, status, status]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert len(ingest.requests) == 4
    assert len(ingest.stored) == 1
    assert len(setup.naps) == 3


async def test_a_ticket_goes_nowhere_but_to_its_server(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)

    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/matches/other/episodes/0"})

    ingest.script = [elsewhere]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert [path for path, _ in ingest.requests] == ["/matches/m/episodes/0"] * 2


async def test_pauses_double_up_to_a_bound_and_are_spread(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    ingest.script = [503] * 12
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert len(setup.naps) == 12
    for attempt, nap in enumerate(setup.naps):
        full = min(BACKOFF_MOST, 0.2 * 2**attempt)
        assert full / 2 <= nap <= full
    assert len({nap / min(BACKOFF_MOST, 0.2 * 2**n) for n, nap in enumerate(setup.naps)}) == 12


async def test_a_lost_acknowledgement_leads_to_one_episode(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)

    async def store_and_hang_up(request: web.Request) -> web.StreamResponse:
        await ingest.store(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    ingest.script = [hang_up, store_and_hang_up]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert len(ingest.requests) == 3
    assert list(ingest.stored.values()) == [played()[0][0]]
    (result,) = setup.results
    assert isinstance(result, Stored)
    assert result.again
    assert setup.left == 0


async def test_200_without_an_acknowledgement_is_none(ingest: Ingest, tmp_path: Path) -> None:
    setup = Setup(tmp_path)

    async def proxy(request: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>")

    async def empty(request: web.Request) -> web.Response:
        return web.json_response({"stored": "new"})

    ingest.script = [proxy, empty]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert len(ingest.requests) == 3
    assert len(ingest.stored) == 1


@pytest.mark.parametrize("status", [400, 403, 409, 413, 415])
async def test_what_cannot_heal_is_set_aside_and_reported(ingest: Ingest, tmp_path: Path, status: int) -> None:
    setup = Setup(tmp_path)

    async def refuse(request: web.Request) -> web.Response:
        reply = {"code": "because", "message": "it is so", "field": "own.player", "expected": 1, "actual": 0}
        return web.json_response({"ok": False, "error": reply}, status=status)

    ingest.script = [refuse]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    (result,) = setup.results
    assert isinstance(result, Refused)
    assert (result.status, result.error.code, result.error.field) == (status, "because", "own.player")
    assert setup.left == 0
    (aside,) = setup.spool.refused()
    reason = aside.with_name(aside.name + ".reason.txt").read_text()
    assert f"status {status}, because: it is so (own.player: 0, expected 1)" in reason
    assert len(ingest.requests) == 1


async def test_what_is_left_is_sent_at_the_next_start(ingest: Ingest, tmp_path: Path) -> None:
    first = Setup(tmp_path)

    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    ingest.script = [never]
    first.uploader.submit(first.spool.take(played()[0][1], ingest.url(1), "t"))
    async with asyncio.timeout(PATIENCE):
        await ingest.arrived.wait()
    assert not await first.uploader.drain(0.0)
    assert first.uploader.pending == 1
    await first.uploader.close()
    assert first.left == 1

    second = Setup(tmp_path)
    assert await second.uploader.resume() == 1
    assert second.uploader.pending == 0  # nothing of its own
    while not second.results:  # noqa: ASYNC110 - the loop itself must turn
        await asyncio.sleep(0)
    await second.finish()
    assert list(ingest.stored.values()) == [played()[0][1]]
    assert second.left == 0


async def test_leftovers_of_a_server_that_is_gone_hold_nobody_up(
    ingest: Ingest, tmp_path: Path, unused_tcp_port: int
) -> None:
    spool = Spool(tmp_path)
    for episode in range(3):
        spool.put(*pack(played()[1][episode], f"http://127.0.0.1:{unused_tcp_port}/x", "old"))
    setup = Setup(tmp_path)
    assert await setup.uploader.resume() == 3
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert len(ingest.stored) == 1
    assert setup.left == 3


async def test_a_disk_that_is_full_does_not_stop_an_upload(ingest: Ingest, tmp_path: Path) -> None:
    class Full(Spool):
        def put(self, *_: Any) -> Any:
            raise SpoolError(tmp_path, "No space left on device")

    setup = Setup(tmp_path, Full(tmp_path))
    ingest.script = [503]
    setup.uploader.submit(setup.spool.take(played()[0][0], ingest.url(0), "t"))
    await setup.finish()
    assert list(ingest.stored.values()) == [played()[0][0]]


async def test_a_file_damaged_after_it_was_spooled_is_set_aside(ingest: Ingest, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spooled = spool.put(*pack(played()[0][0], ingest.url(0), "t"))
    assert spooled.path is not None
    setup = Setup(tmp_path)
    assert await setup.uploader.resume() == 1
    spooled.path.write_bytes(spooled.path.read_bytes()[:-5])
    while not setup.results:  # noqa: ASYNC110 - the loop itself must turn
        await asyncio.sleep(0)
    (result,) = setup.results
    assert isinstance(result, Refused)
    assert "damaged" in result.reason
    assert len(spool.refused()) == 1
    assert ingest.requests == []
    await setup.finish()


async def test_no_more_than_two_uploads_at_a_time(ingest: Ingest, tmp_path: Path) -> None:
    open_now, most = 0, 0
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 2:
            release.set()
        await release.wait()
        answer = await ingest.store(request)
        open_now -= 1
        return answer

    ingest.script = [slow] * 6
    setup = Setup(tmp_path)
    for player in played():
        for episode, export in enumerate(player):
            path = ingest.url(10 * export.own.player + episode)
            setup.uploader.submit(setup.spool.take(export, path, "t"))
    await setup.finish()
    assert len(ingest.stored) == 6
    assert most == 2


def test_a_compressed_body_is_what_the_server_can_read() -> None:
    parcel, body = pack(played()[0][0], "http://x", "t")
    assert decode_export(zlib.decompress(body)) == played()[0][0]
    assert parcel.size == len(body)
