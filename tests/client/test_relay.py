"""The relay transport against a real WebSocket server: it never waits, and repairs or gives up a broken connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from rollgym.client_sim.transport.interface import GONE, TransportError
from rollgym.client_sim.transport.relay import RelayTransport
from tests.patience import PATIENCE


class Relay:
    """A relay for two tickets, ``t0`` and ``t1``, that a test can disturb."""

    def __init__(self) -> None:
        self.sockets: dict[int, web.WebSocketResponse] = {}
        self.joined = {0: asyncio.Event(), 1: asyncio.Event()}
        self.opened = 0
        self.refuse: int | None = None
        self.silent = False
        self.on_open: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
        app = web.Application()
        app.router.add_get("/relay", self.handle)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/relay"))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        ticket = request.headers.get("Authorization", "")
        if self.silent:
            await asyncio.Event().wait()
        if self.refuse is not None or ticket not in ("Bearer t0", "Bearer t1"):
            return web.Response(status=self.refuse or 401)
        player = int(ticket[-1])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        if self.on_open is not None:
            await self.on_open(socket)
        self.sockets[player] = socket
        self.joined[player].set()
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                for other, theirs in list(self.sockets.items()):
                    if other != player and message.data[0] in (other, 0xFF):
                        await theirs.send_bytes(bytes((player,)) + message.data[1:])
        return socket


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay()
    await relay.server.start_server()
    yield relay
    await relay.server.close()


class Inbox:
    """What a transport brought in."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[tuple[int, bytes, float]] = asyncio.Queue()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def packet(self, source: int, data: bytes, now: float) -> None:
        self.packets.put_nowait((source, data, now))

    async def get(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return (await self.packets.get())[1]

    async def why(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.lost


async def opened(relay: Relay, ticket: str, **options: Any) -> tuple[RelayTransport, Inbox]:
    inbox = Inbox()
    transport = RelayTransport(relay.url, ticket, **options)
    await transport.open(inbox.packet, inbox.lost.set_result)
    async with asyncio.timeout(PATIENCE):
        await relay.joined[int(ticket[-1])].wait()
    return transport, inbox


async def test_packets_reach_the_other_player_with_their_source(relay: Relay) -> None:
    first, first_inbox = await opened(relay, "t0")
    second, second_inbox = await opened(relay, "t1")
    before = asyncio.get_running_loop().time()
    for number in range(100):
        first.send(1, bytes((number,)))
    first.send(0xFF, b"all")
    assert [await second_inbox.get() for _ in range(101)] == [bytes((n,)) for n in range(100)] + [b"all"]
    second.send(0, b"x" * 1200)
    async with asyncio.timeout(PATIENCE):
        source, data, arrived = await first_inbox.packets.get()
    assert (source, data) == (1, b"x" * 1200)
    assert arrived >= before
    assert first.stats()["sent"] == 101
    assert second.stats()["received_bytes"] == 103
    await first.close()
    await second.close()


async def test_what_is_no_packet_is_counted_and_dropped(relay: Relay) -> None:
    transport, inbox = await opened(relay, "t0")
    socket = relay.sockets[0]
    await socket.send_str("text")
    await socket.send_bytes(b"")
    await socket.send_bytes(b"\x01")
    await socket.send_bytes(b"\x01" + b"x" * 1201)
    await socket.send_bytes(b"\x01good")
    assert await inbox.get() == b"good"
    assert transport.stats()["bad"] == 4
    await transport.close()


async def test_a_message_too_large_to_buffer_breaks_only_the_connection(relay: Relay) -> None:
    transport, inbox = await opened(relay, "t0")
    relay.joined[0].clear()
    await relay.sockets[0].send_bytes(b"\x01" + b"x" * 100_000)
    async with asyncio.timeout(PATIENCE):
        await relay.joined[0].wait()
    await relay.sockets[0].send_bytes(b"\x01again")
    assert await inbox.get() == b"again"
    assert transport.stats()["reconnects"] == 1
    await transport.close()


async def test_sending_to_a_server_that_does_not_read_drops_instead_of_queueing(relay: Relay) -> None:
    transport, _ = await opened(relay, "t0")
    there: Any = relay.sockets[0]._req.transport  # type: ignore[union-attr]
    there.pause_reading()
    for _ in range(200):
        for _ in range(100):
            transport.send(1, b"x" * 1200)
        await asyncio.sleep(0)
    assert transport._socket is not None
    assert transport._socket.wire.get_write_buffer_size() <= 16 * 1024 + 1300
    stats = transport.stats()
    assert stats["dropped_full"] > 0
    assert stats["sent"] + stats["dropped_full"] == 20_000
    there.abort()
    await transport.close()


async def test_a_broken_connection_is_opened_again(relay: Relay) -> None:
    transport, inbox = await opened(relay, "t0")
    await relay.sockets[0].send_bytes(b"\x01one")
    assert await inbox.get() == b"one"
    relay.joined[0].clear()
    relay.sockets[0]._req.transport.abort()  # type: ignore[union-attr]
    async with asyncio.timeout(PATIENCE):
        await relay.joined[0].wait()
    await relay.sockets[0].send_bytes(b"\x01two")
    assert await inbox.get() == b"two"
    assert transport.stats()["reconnects"] == 1
    assert not inbox.lost.done()
    await transport.close()


async def test_packets_sent_while_disconnected_are_dropped(relay: Relay) -> None:
    resume = asyncio.Event()

    async def wait(_: float) -> None:
        await resume.wait()

    transport, _ = await opened(relay, "t0", sleep=wait)
    await relay.sockets[0].close()
    while transport._socket is not None:  # noqa: ASYNC110 - the loop itself must turn
        await asyncio.sleep(0)
    transport.send(1, b"nowhere")
    assert transport.stats()["dropped_closed"] == 1
    assert transport.stats()["sent"] == 0
    await transport.close()


async def test_a_server_that_refuses_is_given_up_at_once(relay: Relay) -> None:
    transport, inbox = await opened(relay, "t0")
    relay.refuse = 401
    await relay.sockets[0].close()
    assert await inbox.why() == "refused with status 401"
    transport.send(1, b"nowhere")
    assert transport.stats()["dropped_closed"] == 1
    await transport.close()


@pytest.mark.parametrize("at_once", [True, False])
async def test_whoever_is_gone_for_the_server_is_told(relay: Relay, at_once: bool) -> None:
    """By the close code, or when it comes back."""
    transport, inbox = await opened(relay, "t0")
    relay.refuse = 403
    await relay.sockets[0].close(code=4003 if at_once else 1011)
    assert await inbox.why() == GONE
    await transport.close()


async def test_a_match_that_is_over_is_not_come_back_to(relay: Relay) -> None:
    transport, inbox = await opened(relay, "t0")
    await relay.sockets[0].close(code=4002)
    assert await inbox.why() == "closed by the server (code 4002)"
    assert relay.opened == 1
    await transport.close()


class Time:
    """A clock that moves only when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_server_that_fails_for_too_long_is_given_up(relay: Relay) -> None:
    time = Time()
    transport, inbox = await opened(relay, "t0", clock=time.clock, sleep=time.sleep)
    relay.refuse = 503
    await relay.sockets[0].close()
    assert await inbox.why() == "refused with status 503; not reconnected within 5 s"
    assert 4.0 < time.now <= 5.0
    assert len(time.naps) >= 5
    assert all(nap <= 1.0 for nap in time.naps)
    await transport.close()


async def test_a_server_that_accepts_and_hangs_up_is_given_up_too(relay: Relay) -> None:
    time = Time()
    transport, inbox = await opened(relay, "t0", clock=time.clock, sleep=time.sleep)

    async def hang_up(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1013)

    relay.on_open = hang_up
    await relay.sockets[0].close()
    assert "closed by the server (code 1013); not reconnected within 5 s" in await inbox.why()
    assert 5 <= transport.stats()["reconnects"] < 50
    await transport.close()


async def test_opening_fails_with_the_reason(relay: Relay, unused_tcp_port: int) -> None:
    inbox = Inbox()
    wrong_ticket = RelayTransport(relay.url, "t9")
    with pytest.raises(TransportError, match="refused with status 401"):
        await wrong_ticket.open(inbox.packet, inbox.lost.set_result)
    nobody = RelayTransport(f"http://127.0.0.1:{unused_tcp_port}/relay", "t0")
    with pytest.raises(TransportError) as refused:
        await nobody.open(inbox.packet, inbox.lost.set_result)
    assert str(unused_tcp_port) in refused.value.reason
    relay.silent = True
    silent = RelayTransport(relay.url, "t0", open_timeout=0.05)
    with pytest.raises(TransportError, match=r"no answer within 0\.05 s"):
        await silent.open(inbox.packet, inbox.lost.set_result)
    for transport in (wrong_ticket, nobody, silent):
        await transport.close()  # closing what never opened is fine
