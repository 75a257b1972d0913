"""What ``docs/protocol.md`` says of the server's behaviour towards clients written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgpack
import msgspec
import pytest

from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import Resume, dump
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.settings import Play
from tests.server.clients import WAIT, Client, make_settings, pair, running, until
from tests.server.exports import make_export
from tests.server.test_control import RawSocket

CONTROL = "/socket.io/?EIO=4&transport=websocket"


async def _by_packet(raw: RawSocket) -> None:
    await raw.ws.send_bytes(msgpack.packb({"type": 1, "nsp": "/", "data": None}))


async def _by_engine(raw: RawSocket) -> None:
    await raw.ws.send_str("1")


async def _by_handshake(raw: RawSocket) -> None:
    await raw.ws.close(code=1000)


async def _by_accident(raw: RawSocket) -> None:
    connection = raw.ws._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()


@pytest.mark.parametrize(
    ("goodbye", "departs"),
    [(_by_packet, True), (_by_engine, True), (_by_handshake, True), (_by_accident, False)],
)
async def test_a_goodbye_by_hand(
    tmp_path: Path, goodbye: Callable[[RawSocket], Awaitable[None]], departs: bool
) -> None:
    """Each of the three forms is a departure in the middle of play; a connection that just ends is none."""
    settings = make_settings(tmp_path, play=Play(episodes=1, frame_limit=40, disconnect_timeout=600.0))
    async with (
        running(settings) as server,
        pair(server.url) as ((one, _), (_, start)),
        aiohttp.ClientSession() as http,
    ):
        seat = server.server.matches.live[0].seats[1]
        raw = await RawSocket(await http.ws_connect(server.url + CONTROL)).connected()
        resume = dump(Resume(PROTOCOL_VERSION, start.match, start.resume, "x" * 22, 0))
        await raw.ws.send_bytes(msgpack.packb({"type": 2, "nsp": "/", "data": ["resume", resume], "id": 1}))
        answer = msgpack.unpackb((await raw.ws.receive()).data)
        assert (answer["type"], answer["id"], answer["data"]) == (3, 1, [{"ok": True}])
        await goodbye(raw)
        await until(lambda: seat.client is None)
        if departs:
            assert (await one.peer_left()).player == 1
        else:
            assert seat.state == "away"


async def test_a_key_that_is_not_text_ends_the_connection(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, aiohttp.ClientSession() as http:
        raw = await RawSocket(await http.ws_connect(server.url + CONTROL)).connected()
        await raw.ws.send_bytes(msgpack.packb({"type": 2, "nsp": "/", "data": ["leave", {1: "x"}], "id": 1}))
        await raw.closed()


@pytest.mark.parametrize("place", ["stats", "policy", "software", "parameters", "info"])
async def test_a_key_that_is_not_text_makes_an_export_a_bad_one(tmp_path: Path, place: str) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, start), _):
        plain = msgspec.msgpack.decode(encode_export(make_export(start)))
        if place == "parameters":
            plain["header"]["game"]["parameters"] = {1: 2}
        elif place == "info":
            plain["canonical"]["infos"] = [[0, 0, "x", msgpack.packb({1: 2})]]
        else:
            plain["own"][place] = {"deep": {1: 2}} if place != "software" else {1: "2"}
        status, answer = await one.put(start, msgpack.packb(plain))
        assert (status, answer["error"]["code"]) == (400, "bad_export")
        assert await one.upload(start, make_export(start)) == "new"


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/msgpack; charset=x", None])
async def test_content_types_that_are_taken(tmp_path: Path, kind: str | None) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((_, start), _):
        url = resolved(server.url, start.upload.replace("{episode}", "0"))
        headers = {"Authorization": f"Bearer {start.ticket}"} | ({} if kind is None else {"Content-Type": kind})
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http,
            http.put(url, data=encode_export(make_export(start)), headers=headers) as answer,
        ):
            assert answer.status == 200, await answer.text()


async def test_the_ticket_of_an_annulled_match_is_worth_nothing(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one:
        async with Client(server.url) as two:
            await one.join()
            await two.join()
            start = await one.start()
        assert (await one.over()).reason == "annulled"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await one.relay(start)
        assert refused.value.status == 401
        body = encode_export(make_export(start))
        answers = set()
        async with asyncio.timeout(WAIT):
            while ("bad_ticket", 401) not in answers:
                status, answer = await one.put(start, body)
                answers.add((answer["error"]["code"], status))
        assert answers <= {("bad_ticket", 401), ("no_such_match", 404)}


async def test_an_integer_where_a_float_is_due_is_taken_and_digested_as_a_float(tmp_path: Path) -> None:
    """A language with one type of numbers writes 60 for 60.0; the digest is of the float all the same."""
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, start), _):
        export = make_export(start)
        plain = msgspec.msgpack.decode(encode_export(export))
        for name, value in dump(start.settings).items():
            if isinstance(value, float) and value.is_integer():
                plain["header"]["settings"][name] = int(value)
        assert isinstance(plain["header"]["settings"]["fps"], int)
        status, answer = await one.put(start, msgpack.packb(plain))
        assert (status, answer) == (200, {"ok": True, "stored": "new"})
