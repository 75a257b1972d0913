"""A control connection that comes back, against a server that gives seats for tokens and can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import socketio
from aiohttp import web
from aiohttp.test_utils import TestServer

from rollgym.client_sim.client.control import ServerMessage
from rollgym.client_sim.client.control_errors import ConnectionLost
from rollgym.client_sim.client.reconnecting_control import ReconnectingControl
from rollgym.games.identity import identity
from rollgym.games.registry import make
from rollgym.protocol.messages import (
    ONLY_RELAY,
    ErrorReply,
    MatchOver,
    MatchStart,
    PeerLeft,
    PlaySettings,
    Resume,
    Verdict,
    dump,
    parse,
)
from tests.patience import PATIENCE

WAIT = PATIENCE
START = MatchStart("m1", 0, ("a", "b"), 5, PlaySettings(), "t", ONLY_RELAY, "matches/m1/episodes/{episode}", "first")


class SeatServer:
    """One seat. ``token`` is the good one; everything that was said to it is kept."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp", serializer="msgpack", transports=["websocket"])
        self.token = "first"
        self.resumes: asyncio.Queue[Resume] = asyncio.Queue()
        self.finished = 0
        self.clients: list[str] = []
        self.refuse: list[str] = []
        """Codes to refuse the next resumes with."""
        self.break_before = 0
        self.break_after = 0
        """How many resumes to break off before, and after, the token is taken; the answer is never sent."""
        self.deaf_finishes = 0
        """How many ``finished`` to break off without an answer."""
        self.sio.on("connect", self._connect)
        self.sio.on("*", self._event)
        app = web.Application()
        self.sio.attach(app)
        self.server = TestServer(app)

    async def _connect(self, client: str, environ: Any, auth: Any = None) -> None:
        self.clients.append(client)

    async def cut(self) -> None:
        """End the newest connection without a goodbye."""
        await self.sio.eio.disconnect(self.sio.manager.eio_sid_from_sid(self.clients[-1], "/"))

    async def tell(self, name: str, message: msgspec.Struct) -> None:
        await self.sio.emit(name, dump(message), to=self.clients[-1])

    async def _event(self, event: str, client: str, payload: Any) -> Any:
        if event == "resume":
            return await self._resume(parse(Resume, payload))
        if event == "finished":
            self.finished += 1
            if self.deaf_finishes:
                self.deaf_finishes -= 1
                await self.cut()
                await asyncio.Event().wait()
        return {"ok": True, "participant": "bot"}

    async def _resume(self, resume: Resume) -> Any:
        if self.break_before:
            self.break_before -= 1
            await self.cut()
            await asyncio.Event().wait()
        await self.resumes.put(resume)
        if self.refuse:
            return {"ok": False, "error": dump(ErrorReply(self.refuse.pop(0), "no"))}
        if resume.token != self.token:
            return {"ok": False, "error": dump(ErrorReply("bad_resume", "no such seat"))}
        self.token = resume.new_token
        if self.break_after:
            self.break_after -= 1
            await self.cut()
            await asyncio.Event().wait()
        return {"ok": True}


class Playing:
    """A client in a match, and what it heard."""

    def __init__(self, server: SeatServer) -> None:
        self.messages: asyncio.Queue[ServerMessage] = asyncio.Queue()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pauses: list[float] = []
        self.now = 0.0
        url = str(server.server.make_url("/")).rstrip("/")
        self.control = ReconnectingControl(
            url,
            on_message=self.messages.put_nowait,
            on_lost=self.lost.set_result,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def heard(self) -> ServerMessage:
        return await asyncio.wait_for(self.messages.get(), WAIT)

    async def back(self, times: int = 1) -> None:
        async with asyncio.timeout(WAIT):
            while self.control.resumes < times:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def playing() -> AsyncIterator[tuple[SeatServer, Playing]]:
    server = SeatServer()
    await server.server.start_server()
    client = Playing(server)
    await client.control.connect()
    await client.control.join(identity(make("drift").spec), "bot", {})
    await server.tell("match_start", START)
    assert await client.heard() == START
    yield server, client
    await client.control.close(within=1.0)
    await server.sio.shutdown()
    await server.server.close()


async def test_a_broken_connection_is_replaced_and_nobody_hears_of_it() -> None:
    async with playing() as (server, client):
        await server.cut()
        resume = await asyncio.wait_for(server.resumes.get(), WAIT)
        await client.back()
        assert (resume.match, resume.token, resume.heard) == ("m1", "first", 0)
        assert resume.new_token == server.token
        await server.tell("match_over", MatchOver("m1", "complete"))
        assert await client.heard() == MatchOver("m1", "complete")
        assert not client.control.lost
        assert not client.lost.done()
        assert client.pauses == []


async def test_every_return_has_another_token_and_says_how_much_was_heard() -> None:
    async with playing() as (server, client):
        said: list[tuple[str, Any]] = [
            ("verdict", Verdict("m1", 0, "verified")),
            ("verdict", Verdict("other", 0, "verified")),  # not of this match: does not count
            ("peer_left", PeerLeft("m1", 1)),
        ]
        tokens = {"first"}
        for number, (name, message) in enumerate(said, start=1):
            await server.tell(name, message)
            assert await client.heard() == message
            await server.cut()
            resume = await asyncio.wait_for(server.resumes.get(), WAIT)
            await client.back(number)
            assert resume.heard == [1, 1, 2][number - 1]
            assert server.token not in tokens
            assert len(server.token) >= 22
            tokens.add(server.token)


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1), (2, 0), (0, 3), (2, 2)])
async def test_an_answer_that_is_lost_does_not_cost_the_seat(before: int, after: int) -> None:
    async with playing() as (server, client):
        server.break_before, server.break_after = before, after
        await server.cut()
        await client.back()
        assert not client.control.lost
        server.break_after = 1
        await server.cut()
        await client.back(2)
        assert not client.control.lost


async def test_a_server_that_is_stopping_is_tried_again_with_back_off() -> None:
    async with playing() as (server, client):
        server.refuse = ["closing"] * 4
        await server.cut()
        await client.back()
        assert len(client.pauses) == 4
        assert client.pauses == sorted(client.pauses)


@pytest.mark.parametrize("code", ["left", "bad_resume", "protocol_mismatch"])
async def test_a_seat_that_is_gone_is_lost_for_good(code: str) -> None:
    async with playing() as (server, client):
        server.refuse = [code] * 10
        await server.cut()
        assert code in await asyncio.wait_for(client.lost, WAIT)
        assert client.control.lost
        with pytest.raises(ConnectionLost):
            await client.control.finished(1)
        with pytest.raises(ConnectionLost):
            client.control.check()


async def test_a_server_that_does_not_come_back_is_given_up_after_the_silence_that_the_match_allows() -> None:
    async with playing() as (server, client):
        server.refuse = ["closing"] * 1000
        await server.cut()
        assert await asyncio.wait_for(client.lost, WAIT)
        assert 0.7 * START.settings.silence < client.now <= START.settings.silence


async def test_without_a_match_a_broken_connection_is_lost_at_once() -> None:
    async with playing() as (server, client):
        await server.tell("match_over", MatchOver("m1", "complete"))
        await client.heard()
        await server.cut()
        await asyncio.wait_for(client.lost, WAIT)
        assert server.resumes.empty()


async def test_what_was_not_acknowledged_is_said_again() -> None:
    async with playing() as (server, client):
        server.deaf_finishes = 1
        await asyncio.wait_for(client.control.finished(3), WAIT)
        assert server.finished == 2
        assert client.control.resumes == 1


async def test_who_leaves_does_not_come_back() -> None:
    async with playing() as (server, client):
        server.refuse = ["closing"] * 1000
        await server.cut()
        await asyncio.wait_for(server.resumes.get(), WAIT)
        await client.control.leave("enough", within=1.0)
        assert client.control.lost
        assert not client.lost.done()
