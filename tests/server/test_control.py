"""Hostile and broken control messages: an error with a code, or the end of that one connection. Nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from rollgym.protocol.messages import ErrorReply, Join, dump, parse
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.events.stream import EventStream
from rollgym.server.http.control import ControlServer
from rollgym.server.http.engine import Mailbox
from rollgym.server.settings import Limits
from tests.server.clients import WAIT, Client, make_settings, pair, running, until
from tests.server.exports import make_export


@pytest.mark.parametrize(
    ("event", "payload", "code", "words"),
    [
        ("jion", {}, "unknown_event", "leave, finished"),
        ("join", {}, "bad_message", "protocol"),
        ("join", None, "bad_message", "one map"),
        ("join", [1, 2], "bad_message", "join"),
        ("join", {"protocol": "1"}, "bad_message", "protocol"),
        ("leave", {"reason": 7}, "bad_message", "reason"),
        ("leave", {"reason": "x" * 2000}, "bad_message", "reason"),
        ("leave", {"raeson": "x"}, "bad_message", "raeson"),
        ("leave", {}, "not_in_match", "neither"),
        ("finished", {"episodes": -1}, "bad_message", "episodes"),
        ("finished", {"episodes": 1}, "not_in_match", "no match"),
    ],
)
async def test_what_is_not_understood_gets_an_error_with_a_code(
    tmp_path: Path, event: str, payload: Any, code: str, words: str
) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as client:
        answer = await client.call(event, payload)
        assert answer["ok"] is False
        reply = parse(ErrorReply, answer["error"])
        assert reply.code == code
        assert words in reply.message
        assert (await client.join())["ok"]


class RawSocket:
    """A WebSocket that speaks Engine.IO by hand."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def connected(self) -> RawSocket:
        assert (await self.ws.receive_str()).startswith("0{")
        await self.ws.send_bytes(msgpack.packb({"type": 0, "nsp": "/", "data": None}))
        answer = msgpack.unpackb((await self.ws.receive()).data)
        assert answer["type"] == 0
        return self

    async def closed(self) -> None:
        async with asyncio.timeout(WAIT):
            while (await self.ws.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                pass
        self.ws._response.close()


FRAMES: list[bytes | str] = [
    b"",
    b"\xff\xff\xff",
    b"\xc1",
    msgpack.packb([1, 2, 3]),
    msgpack.packb("text"),
    msgpack.packb({}),
    msgpack.packb({"type": 2}),
    msgpack.packb({"type": 99, "nsp": "/"}),
    msgpack.packb({"type": 2, "nsp": "/", "data": "join"}),
    msgpack.packb({"type": 2, "nsp": "/", "data": []}),
    msgpack.packb({"type": 2, "nsp": "/", "data": [["list"]]}),
    msgpack.packb({"type": 2, "nsp": "/", "data": ["connect", {}]}),
    msgpack.packb({"type": 2, "nsp": "/", "data": ["disconnect", "x"]}),
    msgpack.packb({"type": 2, "nsp": "/", "data": [{1: 2}]}, strict_types=False),
    msgpack.packb({"type": 2, "nsp": [1], "data": ["join"]}),
    msgpack.packb({"type": 3, "nsp": "/", "id": 7, "data": []}),
    msgpack.packb({"type": 0, "nsp": "/", "data": None}),
    msgpack.packb({"type": 0, "nsp": "/nowhere", "data": None}),
    msgpack.packb({"type": 4, "nsp": "/", "data": "x"}),
    msgpack.packb({"type": 5, "nsp": "/", "data": ["x"]}),
    b"\x81" * 5000,
    "",
    "9",
    "x",
    "5",
    "4{",
    '42["join",{}]',
    "1",
    "b!!!",
]


async def test_broken_frames_hurt_nobody_else(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for frame in FRAMES:
            ws = await http.ws_connect(server.url + "/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
            raw = await RawSocket(ws).connected()
            await (raw.ws.send_str(frame) if isinstance(frame, str) else raw.ws.send_bytes(frame))
            assert (await one.call("leave", {"reason": 7}))["error"]["code"] == "bad_message"
            await ws.close()
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        assert (await one.verdict()).verdict == "verified"
        assert (await two.verdict()).verdict == "verified"
        connections = server.server.metrics.connections
        await until(lambda: connections._value.get() == 2)


@pytest.mark.parametrize(
    "frame", [b"\xff\xff\xff", msgpack.packb({"type": 2, "nsp": "/", "data": ["disconnect", "x"]})]
)
async def test_who_sends_what_is_not_socketio_is_cut_off(tmp_path: Path, frame: bytes) -> None:
    async with running(make_settings(tmp_path)) as server, aiohttp.ClientSession() as http:
        ws = await http.ws_connect(server.url + "/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
        raw = await RawSocket(ws).connected()
        await raw.ws.send_bytes(frame)
        await raw.closed()
        assert server.server.metrics.refused.labels("not_socketio")._value.get() == 1


async def test_a_connection_that_never_says_connect_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.server.http.control._CONNECT_WITHIN", 0.05)
    async with running(make_settings(tmp_path)) as server, aiohttp.ClientSession() as http:
        url = server.url + "/socket.io/?EIO=4&transport=websocket"
        talks = await RawSocket(await http.ws_connect(url)).connected()
        await RawSocket(await http.ws_connect(url)).closed()
        assert not talks.ws.closed
        await talks.ws.close()


class Sock:
    """A connection as the library has it, with a ping on its way since ``last_ping``."""

    def __init__(self, last_ping: float | None) -> None:
        self.last_ping = last_ping
        self.closed = self.closing = False
        self.queue = Mailbox(8, 0.9, lambda: None)

    async def close(self, **_: Any) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("looks", "noticed"),
    [
        # (seconds since the ping, seconds stalled before this look)
        ([(0.1, 0.0), (0.5, 0.0), (0.89, 0.0)], False),
        ([(0.1, 0.0), (0.91, 0.0)], True),
        ([(0.1, 0.0), (1.5, 1.3), (1.6, 0.0), (2.1, 0.0)], False),
        ([(0.1, 0.0), (1.5, 1.3), (1.6, 0.0), (2.3, 0.0)], True),
        ([(3600.0, 3599.9)], False),  # the clock was set
        ([(0.7, 0.6), (1.4, 0.6), (2.1, 0.6), (2.8, 0.6)], False),  # a busy machine
    ],
)
async def test_a_stall_of_the_server_is_not_the_silence_of_its_clients(
    tmp_path: Path, looks: list[tuple[float, float]], noticed: bool
) -> None:
    server = ControlServer(make_settings(tmp_path).model_copy(update={"ping_timeout": 0.9}), EventStream()).eio
    sock, quiet = Sock(100.0), Sock(None)
    server.sockets.update(one=sock, quiet=quiet)
    for after, stalled in looks:
        await server.look(100.0 + after, stalled)
    assert sock.closed is noticed
    assert not quiet.closed


async def test_a_stall_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ControlServer(make_settings(tmp_path), EventStream()).eio
    stalls: list[float] = []

    async def look(now: float, stalled: float) -> None:
        stalls.append(stalled)

    monkeypatch.setattr(server, "look", look)
    task = asyncio.ensure_future(server._service_task())
    await until(lambda: len(stalls) == 1)
    time.sleep(0.4)  # noqa: ASYNC251 - the stall
    await until(lambda: len(stalls) == 2)
    assert stalls[0] == 0.0
    assert stalls[1] >= 0.29
    server.service_task_event.set()
    await task


async def test_a_server_that_stalls_loses_no_client_and_says_its_own_timeout(tmp_path: Path) -> None:
    settings = make_settings(tmp_path).model_copy(update={"ping_interval": 1, "ping_timeout": 0.2})
    async with running(settings) as server, aiohttp.ClientSession() as http:
        ws = await http.ws_connect(server.url + "/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
        opened = await ws.receive_str()
        assert json.loads(opened[1:])["pingTimeout"] == 200
        await ws.send_bytes(msgpack.packb({"type": 0, "nsp": "/", "data": None}))
        pings = 0
        while pings < 3:
            message = await asyncio.wait_for(ws.receive(), WAIT)
            if message.data == "2":
                pings += 1
                time.sleep(0.5)  # noqa: ASYNC251 - the stall, in the loop that both share
                await ws.send_str("3")
        assert server.server.metrics.connections._value.get() == 1
        await RawSocket(ws).closed()  # from now on it answers no ping
        await until(lambda: server.server.metrics.connections._value.get() == 0)


async def test_who_does_not_read_is_dropped_and_others_notice_nothing(tmp_path: Path) -> None:
    limits = Limits(mailbox=8, message_bytes=1 << 16, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        http = await stack.enter_async_context(aiohttp.ClientSession(read_bufsize=2048))
        url = server.url + "/socket.io/?EIO=4&transport=websocket"
        ws = await http.ws_connect(url, max_msg_size=0)
        raw = await RawSocket(ws).connected()
        assert ws._response.connection is not None
        transport = ws._response.connection.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        # Every refusal echoes the event's name: an answer per message that is never read.
        frame = msgpack.packb({"type": 2, "nsp": "/", "id": 1, "data": ["x" * 60_000, {}]})
        dropped = server.server.metrics.dropped_clients

        async def flood() -> None:
            while True:
                await raw.ws.send_bytes(frame)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), WAIT)
        ws._response.close()
        assert dropped._value.get() == 1
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        assert (await one.verdict()).verdict == (await two.verdict()).verdict == "verified"


async def test_health_status_and_metrics(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        for client, start in ((one, a), (two, b)):
            await client.upload(start, make_export(start))
        await one.verdict()
        async with one.http.get(server.url + "/health") as response:
            assert (response.status, await response.json()) == (200, {"ok": True})
        async with one.http.get(server.url + "/status") as response:
            text = await response.text()
            status = json.loads(text)
        assert a.ticket not in text
        assert status["game"] == {"id": "drift", "version": "1", "parameters": {"max_frames": None}}
        assert (status["matches_begun"], status["waiting"], status["orphans"]) == (1, 0, [])
        (match,) = status["matches"]
        assert (match["match"], match["phase"], match["uploads"]) == (a.match, "playing", 2)
        assert match["verdicts"] == {"0": "verified"}
        assert status["verdicts"] == {"verified": 1}
        async with one.http.get(server.url + "/metrics") as response:
            lines = (await response.text()).splitlines()
        assert 'rollgym_verdicts_total{verdict="verified"} 1.0' in lines
        assert 'rollgym_uploads_total{result="new"} 2.0' in lines
        assert "rollgym_connections 2.0" in lines


async def test_a_join_with_every_kind_of_value_is_compared_and_refused(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as client:
        good = dump(Join(PROTOCOL_VERSION, server.server.descriptions[0].game))
        for value in (
            b"bytes",
            1.5,
            [1],
            {"a": 1},
            "x" * 100_000,
            msgpack.ExtType(5, b"x"),
            msgpack.Timestamp(1),
            2**60,
        ):
            parameters = {"max_frames": value}
            answer = await client.call("join", {**good, "game": {**good["game"], "parameters": parameters}})
            wanted = "bad_message" if isinstance(value, msgpack.Timestamp) else "game_mismatch"
            assert answer["error"]["code"] == wanted, value
            assert len(msgpack.packb(answer)) < 1000
