"""Connections that take places, and what those who wait are told."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from rollgym.protocol.messages import ErrorReply, Waiting
from rollgym.server.http.admission import host_of, refusal
from rollgym.server.http.silence import Silence
from rollgym.server.lobby.notices import INTERVAL, Notices
from rollgym.server.settings import Limits
from tests.client.virtual import clock, run
from tests.server.clients import WAIT, Client, make_settings, pair, running, until


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("127.0.0.1", None),
        ("127.8.8.8", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        (None, None),
    ],
)
def test_an_address_says_whose_connection_it_is(address: str | None, host: str | None) -> None:
    assert host_of(address) == host


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60))
def test_one_host_never_has_all_places(arrivals: list[str | None]) -> None:
    present: list[str | None] = []
    for host in arrivals:
        if refusal(host, iter(present), most=20, most_per_host=8) is None:
            present.append(host)
        else:
            assert len(present) == 20 or (host is not None and present.count(host) == 8)
    assert len(present) <= 20
    assert max(present.count("a"), present.count("b")) <= 8


async def test_one_host_cannot_take_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.server.http.control.host_of", lambda address: "somebody")
    limits = Limits(connections_per_host=2, free_bytes=0)
    async with running(make_settings(tmp_path, limits=limits)) as server, AsyncExitStack() as stack:
        one = await stack.enter_async_context(Client(server.url))
        two = await stack.enter_async_context(Client(server.url))
        third = Client(server.url)
        with pytest.raises(Exception, match=r"(?i)connection|unauthorized|401"):
            await third.__aenter__()
        await third.http.close()
        refused = server.server.metrics.refused.labels("too_many_connections_from_this_host")
        assert refused._value.get() == 1
        await one.close()
        await until(lambda: server.server.metrics.connections._value.get() == 1)
        await stack.enter_async_context(Client(server.url))  # its place is free again
        assert (await two.join())["ok"]


async def test_a_connection_that_never_joins_is_told_so_and_closed_and_no_other_is(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        matchmaker = server.server.matchmaker
        (one, a), (two, _) = await stack.enter_async_context(pair(server.url))
        waits = await stack.enter_async_context(Client(server.url))
        assert (await waits.join())["ok"]
        # One who has finished and waits for the verdicts has a seat still.
        assert (await one.call("finished", {"episodes": 0}))["ok"]
        idles = await stack.enter_async_context(Client(server.url))
        for client in (one, two, waits, one, two, waits, idles):  # the time is up
            matchmaker._look(str(client.sio.get_sid()))
        async with asyncio.timeout(WAIT):
            message = await idles.heard.get()
            await idles.gone.wait()
        await until(lambda: len(matchmaker._idle) == 3)  # nothing is kept of it
        assert isinstance(message, ErrorReply)
        assert message.code == "not_joined"
        assert server.server.metrics.not_joined._value.get() == 1
        assert not [client for client in (one, two, waits) if client.gone.is_set()]
        assert (await two.call("finished", {"episodes": 0}))["ok"]
        assert (await one.over()).match == a.match
        matchmaker._look(str(one.sio.get_sid()))  # has played: it is given the time once more
        assert not matchmaker._sending
        assert (await one.join())["ok"]


async def test_one_that_joins_at_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.server.lobby.matchmaker._LAST_WORD", 0.0)
    async with running(make_settings(tmp_path)) as server, Client(server.url) as late:
        matchmaker = server.server.matchmaker

        async def tell(client: str, message: Struct) -> None:
            assert (await late.join())["ok"]

        monkeypatch.setattr(matchmaker, "_tell", tell)
        await matchmaker._send_away(str(late.sio.get_sid()))
        assert server.server.metrics.not_joined._value.get() == 0
        assert matchmaker.desks[0].lobby.waiting == 1


async def test_those_who_wait_are_told_how_many_they_are(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, matches=1)) as server, AsyncExitStack() as stack:
        one = await stack.enter_async_context(Client(server.url))
        await one.join()
        await until(lambda: one.notices == [Waiting(1, 2)])
        two = await stack.enter_async_context(Client(server.url))
        await two.join()
        await one.start()
        waiting = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        for client in waiting:
            await client.join()
        await until(lambda: all(client.notices[-1:] == [Waiting(3, 2)] for client in waiting))
        await waiting[0].close()
        await until(lambda: all(client.notices[-1] == Waiting(2, 2) for client in waiting[1:]))
        assert one.notices == [Waiting(1, 2)]
        assert two.notices == []  # it was paired at once


@given(st.lists(st.tuples(st.floats(0, 3), st.sets(st.integers(0, 4))), max_size=15))
def test_each_is_told_at_most_once_in_a_second_and_in_the_end_everybody_knows(
    steps: list[tuple[float, set[int]]],
) -> None:
    async def main() -> None:
        told: dict[str, list[tuple[float, Struct]]] = {}

        async def tell(client: str, message: Struct) -> None:
            told.setdefault(client, []).append((clock(), message))

        notices = Notices(tell)
        queue: tuple[str, ...] = ()
        entered: dict[str, float] = {}
        again: float | None = None
        for wait, members in [*steps, (0.0, {0, 1})]:
            before, queue = queue, tuple(f"c{n}" for n in sorted(members))
            entered.update((client, clock()) for client in queue if client not in before)
            again = await notices.tell_all(queue, 2)
            await asyncio.sleep(wait)
        for _ in range(3):
            again = await notices.tell_all(queue, 2)
            if again is None:
                break
            assert 0 < again <= INTERVAL
            await asyncio.sleep(again + 1e-6)
        assert again is None
        for messages in told.values():
            times = [at for at, _ in messages]
            assert all(late - early >= INTERVAL - 1e-9 for early, late in itertools.pairwise(times))
        for client in queue:
            at, message = told[client][-1]
            assert message == Waiting(len(queue), 2)
            assert at >= entered[client]

    run(main())


async def test_a_connection_that_asks_nothing_is_closed_and_others_are_not(tmp_path: Path) -> None:
    now = 0.0
    silence = Silence(30.0, lambda: now)
    async with running(make_settings(tmp_path)) as server, Client(server.url) as client:
        web_server = server.runner.server
        assert web_server is not None
        host, port = server.url.removeprefix("http://").split(":")
        silent, kept = await asyncio.open_connection(host, int(port))
        half, halfway = await asyncio.open_connection(host, int(port))
        halfway.write(b"GET /health HTTP/1.1\r\nHost: half of a request")
        asks, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(asks.readline(), WAIT)
        await until(lambda: len(web_server.connections) == 4)
        assert silence.look(web_server.connections) == 0
        now = 29.9
        assert silence.look(web_server.connections) == 0
        now = 30.0
        assert silence.look(web_server.connections) == 2
        for reader in (silent, half):
            assert await asyncio.wait_for(reader.read(), WAIT) == b""
        assert (await client.join())["ok"]
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'{"ok": true}' in await asyncio.wait_for(asks.readuntil(b"}"), WAIT)
        for each in (kept, halfway, writer):
            each.close()
