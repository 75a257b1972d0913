"""The relay: who gets which packet, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.messages import MatchStart
from rollgym.protocol.packets import MAX_PACKET
from rollgym.protocol.relay import EVERYONE, LEFT, MATCH_OVER, REPLACED
from rollgym.server.play.relay import HELD, Bucket
from rollgym.server.settings import Limits
from tests.server.clients import WAIT, Client, Running, make_settings, running, until


class Player:
    """A client on the relay."""

    def __init__(self, client: Client, start: MatchStart, line: aiohttp.ClientWebSocketResponse) -> None:
        self.client = client
        self.start = start
        self.line = line

    async def receive(self) -> bytes:
        message = await asyncio.wait_for(self.line.receive(), WAIT)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        data: bytes = message.data
        return data

    async def close_code(self) -> int:
        """Read until the server closes; its code."""
        async with asyncio.timeout(WAIT):
            while True:
                message = await self.line.receive()
                if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                    assert self.line.close_code is not None
                    return self.line.close_code


class Table:
    """Two players who have opened the relay."""

    def __init__(self, url: str) -> None:
        self.clients = [Client(url), Client(url)]
        self.players: list[Player] = []

    async def __aenter__(self) -> list[Player]:
        for client in self.clients:
            await client.__aenter__()
            await client.join()
        for client in self.clients:
            start = await client.start()
            self.players.append(Player(client, start, await client.relay(start)))
        return self.players

    async def __aexit__(self, *_: object) -> None:
        for player in self.players:
            await player.line.close()
        for client in self.clients:
            await client.close()


def delivered(server: Running) -> Callable[[], float]:
    value: Callable[[], float] = server.server.metrics.relay_packets._value.get
    return value


async def test_packets_reach_their_receiver_with_the_senders_number(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        await one.line.send_bytes(b"\x01hello")
        assert await two.receive() == b"\x00hello"
        await two.line.send_bytes(bytes([EVERYONE]) + b"x" * MAX_PACKET)
        assert await one.receive() == b"\x01" + b"x" * MAX_PACKET
        for number in range(500):
            await one.line.send_bytes(b"\x01" + number.to_bytes(2, "little"))
        assert [await two.receive() for _ in range(500)] == [b"\0" + n.to_bytes(2, "little") for n in range(500)]


async def test_packets_to_nobody_and_to_oneself_are_dropped(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        for receiver in (0, 2, 15, 254):
            await one.line.send_bytes(bytes([receiver]) + b"lost")
        await one.line.send_bytes(b"\x01kept")
        assert await two.receive() == b"\0kept"
        assert server.server.metrics.dropped_absent._value.get() == 4


async def test_matches_do_not_hear_each_other(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two), Table(server.url) as (a, b):
        assert one.start.match != a.start.match
        await one.line.send_bytes(b"\xffone")
        await a.line.send_bytes(b"\xffa")
        assert await two.receive() == b"\0one"
        assert await b.receive() == b"\0a"


@pytest.mark.parametrize(
    ("payload", "code"),
    [("text", 1008), (b"", 1008), (b"\x01", 1008), (b"\x01" + b"x" * (MAX_PACKET + 1), 1009), (b"x" * 100_000, 1009)],
)
async def test_what_is_no_packet_closes_the_line(tmp_path: Path, payload: str | bytes, code: int) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        await (one.line.send_str(payload) if isinstance(payload, str) else one.line.send_bytes(payload))
        assert await one.close_code() == code
        again = await one.client.relay(one.start)
        await again.send_bytes(b"\x01back")
        assert await two.receive() == b"\0back"
        await again.close()


@pytest.mark.parametrize(
    "authorization", [None, "Bearer ", "Bearer wrong", "Basic abc", "Bearer " + "x" * 500, "\u00e9"]
)
async def test_without_a_ticket_there_is_no_relay(tmp_path: Path, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with running(make_settings(tmp_path)) as server, Client(server.url) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect(server.url + "/relay", headers=headers)
        assert caught.value.status == 401


async def test_a_second_line_replaces_the_first(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        second = await two.client.relay(two.start)
        assert await two.close_code() == REPLACED
        await one.line.send_bytes(b"\x01new")
        assert (await asyncio.wait_for(second.receive(), WAIT)).data == b"\0new"
        await second.send_bytes(b"\x00answer")
        assert await one.receive() == b"\x01answer"
        await second.close()


async def test_who_comes_back_gets_the_last_packets_that_came_meanwhile(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        await two.line.close()
        await until(lambda: server.server.metrics.relay_connections._value.get() == 1)
        for number in range(HELD + 3):
            await one.line.send_bytes(bytes([1, number]))
        await until(lambda: server.server.metrics.dropped_absent._value.get() == HELD + 3)
        again = await two.client.relay(two.start)
        held = [(await asyncio.wait_for(again.receive(), WAIT)).data for _ in range(HELD)]
        assert held == [bytes([0, number]) for number in range(3, HELD + 3)]
        await one.line.send_bytes(b"\x01live")
        assert (await asyncio.wait_for(again.receive(), WAIT)).data == b"\0live"
        await again.close()


@pytest.mark.parametrize("receiver", [1, EVERYONE])
async def test_the_last_packets_are_held_though_nobody_is_connected_any_more(tmp_path: Path, receiver: int) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        metrics = server.server.metrics
        await two.line.close()
        await until(lambda: metrics.relay_connections._value.get() == 1)
        await one.line.send_bytes(bytes([receiver]) + b"last")
        await until(lambda: metrics.dropped_absent._value.get() == 1)
        await one.line.close()
        await until(lambda: metrics.relay_connections._value.get() == 0)
        again = await two.client.relay(two.start)
        assert (await asyncio.wait_for(again.receive(), WAIT)).data == b"\0last"
        await again.close()


async def test_nothing_is_held_of_a_match_that_is_over(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        await two.line.close()
        await one.line.send_bytes(b"\x01last")
        for player in (one, two):
            assert (await player.client.call("finished", {"episodes": 0}))["ok"]
        assert await one.close_code() == MATCH_OVER
        assert server.server.relay._relayed == {}


async def test_the_last_packets_of_one_who_leaves_are_repeated_to_the_others(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, upload_grace=600.0)) as server, Table(server.url) as (one, two):
        for number in range(HELD + 1):
            await one.line.send_bytes(bytes([1, number]))
            assert await two.receive() == bytes([0, number])
        assert (await one.client.call("leave", {"reason": "enough"}))["ok"]
        repeated = [await two.receive() for _ in range(HELD)]
        assert repeated == [bytes([0, number]) for number in range(1, HELD + 1)]
        assert (await two.client.peer_left()).player == 0


async def test_the_line_of_one_who_left_is_closed_and_stays_closed(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, upload_grace=600.0)) as server, Table(server.url) as (one, two):
        assert (await two.client.call("leave", {"reason": "enough"}))["ok"]
        assert await two.close_code() == LEFT
        left = await one.client.peer_left()
        assert (left.player, left.reason) == (1, "enough")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await two.client.relay(two.start)
        assert caught.value.status == 403


async def test_after_the_match_the_lines_are_closed_and_the_tickets_void(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        for player in (one, two):
            assert (await player.client.call("finished", {"episodes": 0}))["ok"]
        assert await one.close_code() == await two.close_code() == MATCH_OVER
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await one.client.relay(one.start)
        assert caught.value.status == 401


async def test_a_slow_receiver_loses_packets_and_delays_nobody(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Table(server.url) as (one, two):
        connection = two.line._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        metrics = server.server.metrics
        packet = b"\x01" + b"x" * MAX_PACKET
        sent = 0
        async with asyncio.timeout(WAIT):
            while metrics.dropped_slow._value.get() < 100:
                await one.line.send_bytes(packet)
                sent += 1
        # What is neither dropped nor delivered does not exist: the server keeps no queue of its own.
        await until(lambda: metrics.dropped_slow._value.get() + metrics.relay_packets._value.get() >= sent)
        await two.line.send_bytes(b"\x00still here")
        assert await one.receive() == b"\x01still here"


async def test_who_sends_too_fast_loses_the_excess(tmp_path: Path) -> None:
    limits = Limits(relay_packets_per_second=50, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, Table(server.url) as (one, two):
        server.server.relay._clock = lambda: 0.0
        again = await one.client.relay(one.start)
        for number in range(80):
            await again.send_bytes(bytes([1, number]))
        assert [await two.receive() for _ in range(50)] == [bytes([0, n]) for n in range(50)]
        await until(lambda: server.server.metrics.dropped_rate._value.get() == 30)
        await again.close()


@given(st.floats(1, 1000), st.lists(st.floats(0, 3), max_size=200))
def test_a_bucket_never_lets_more_through_than_its_rate(rate: float, gaps: list[float]) -> None:
    bucket, now, passed = Bucket(rate, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
    assert passed <= rate + rate * now + 1e-6
    assert passed >= min(len(gaps), int(rate))
