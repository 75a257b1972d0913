"""Uploads have bounds on the line and in number, and their header is compared as exactly as a digest would."""

from __future__ import annotations

import asyncio
import random
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export_body import encode_export
from rollgym.server.record import ingest
from rollgym.server.settings import Limits
from tests.server.clients import make_settings, pair, running, until
from tests.server.exports import make_export
from tests.server.test_ingest import files, with_header


@pytest.mark.parametrize("value", [16.0, True])
async def test_a_number_of_another_type_is_another_header(tmp_path: Path, value: float) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), _):
        export = make_export(a)
        space, other = export.header.game.action_spaces
        assert space["n"] == 16
        game = msgspec.structs.replace(export.header.game, action_spaces=({**space, "n": value}, other))
        status, answer = await one.put(a, encode_export(with_header(export, game=game)))
        assert (status, answer["error"]["code"]) == (422, "header_mismatch")
        assert answer["error"]["field"] == "header.game.action_spaces[0].n"
        assert files(tmp_path) == []


async def test_what_comes_over_the_line_in_chunks_is_bounded(tmp_path: Path) -> None:
    limits = Limits(upload_bytes=4096, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, pair(server.url) as ((one, a), _):
        body = zlib.compress(random.Random(1).randbytes(8192), 1)
        assert 4096 < len(body) < limits.export_bytes

        async def chunks() -> Any:
            yield body

        headers = {"Authorization": f"Bearer {a.ticket}", "Content-Type": "application/msgpack"}
        url = resolved(server.url, a.upload.replace("{episode}", "0"))
        async with one.http.put(url, data=chunks(), headers={**headers, "Content-Encoding": "deflate"}) as response:
            answer = await response.json()
        assert (response.status, answer["error"]["code"], answer["error"]["expected"]) == (413, "too_large", 4096)
        assert files(tmp_path) == []


async def test_bodies_received_at_once_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_BODIES_PER_SLOT", 1)
    limits = Limits(uploads_at_once=1, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, pair(server.url) as ((one, a), (two, b)):
        body = encode_export(make_export(a))
        begun, go_on = asyncio.Event(), asyncio.Event()
        real = ingest.Ingest._write_body
        receiving: list[int] = []

        async def slow(self: ingest.Ingest, request: Any, temporary: Path) -> None:
            receiving.append(1)
            begun.set()
            await go_on.wait()
            await real(self, request, temporary)

        monkeypatch.setattr(ingest.Ingest, "_write_body", slow)
        first = asyncio.create_task(one.put(a, body))
        await begun.wait()
        second = asyncio.create_task(two.put(b, encode_export(make_export(b))))
        await until(lambda: server.server.ingest._running == 2)
        await one.call("finished", {"episodes": 1})  # a turn of the whole server, so that the second could have begun
        assert len(receiving) == 1
        go_on.set()
        assert [status for status, _ in await asyncio.gather(first, second)] == [200, 200]
        assert len(receiving) == 2
