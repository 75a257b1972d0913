"""Pairing over real sockets: who is matched, who is refused, and what happens to the partner of one who dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.messages import ErrorReply, MatchStart
from rollgym.protocol.seeds import match_seed
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.play.match import Phase
from rollgym.server.settings import Limits, Play
from rollgym.server.storage.rows import MatchRow
from tests.server.clients import WAIT, Client, Running, make_settings, pair, running, until
from tests.server.exports import make_export


async def until_waiting(server: Running, wanted: int) -> None:
    """Wait until the server has taken note of its clients."""
    await until(lambda: server.server.matchmaker.desks[0].lobby.waiting == wanted)


async def test_two_clients_are_told_the_same_match(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((_, a), (_, b)):
        assert (a.player, b.player) == (0, 1)
        assert a.participants == b.participants == ("one", "two")
        assert (a.match, a.seed, a.settings, a.transports, a.upload) == (
            b.match,
            b.seed,
            b.settings,
            b.transports,
            b.upload,
        )
        assert a.ticket != b.ticket
        assert a.upload == f"matches/{a.match}/episodes/{{episode}}"


async def test_two_hundred_who_join_at_once_are_each_in_exactly_one_match(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server.url)) for _ in range(200)]
        answers = await asyncio.gather(*(client.join() for client in clients))
        assert all(answer["ok"] for answer in answers)
        starts = await asyncio.gather(*(client.start() for client in clients))
        seats = Counter((start.match, start.player) for start in starts)
        assert len(seats) == 200
        assert set(seats.values()) == {1}
        assert len({start.match for start in starts}) == 100
        assert len({start.seed for start in starts}) == 100
        assert {start.seed for start in starts} == {match_seed(5, index) for index in range(100)}
        assert all(client.heard.empty() for client in clients)
        lobby = server.server.matchmaker.desks[0].lobby
        assert (lobby.waiting, lobby.seated) == (0, 200)


async def test_joining_twice_changes_nothing(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one, Client(server.url) as two:
        first = await one.join()
        assert await one.join() == first
        assert server.server.matchmaker.desks[0].lobby.waiting == 1
        await two.join()
        assert (await one.start()).match == (await two.start()).match
        answer = await one.join()
        assert answer["error"]["code"] == "already_playing"


async def test_who_leaves_the_queue_is_not_paired(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        await one.join(name="one")
        assert await one.call("leave", {"reason": "changed my mind"}) == {"ok": True}
        await two.join(name="two")
        await three.join(name="three")
        assert (await two.start()).participants == (await three.start()).participants == ("two", "three")
        assert (await one.call("leave", {}))["error"]["code"] == "not_in_match"


async def test_who_dies_while_waiting_is_not_paired(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        await one.join(name="one")
        await one.kill()
        await until_waiting(server, 0)
        await two.join(name="two")
        await three.join(name="three")
        assert (await two.start()).participants == (await three.start()).participants == ("two", "three")


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_death_between_pairing_and_being_told_gives_the_partner_another(
    tmp_path: Path, victim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        add_match = server.server.catalogue.add_match
        lobby = server.server.matchmaker.desks[0].lobby

        async def kill_meanwhile(row: MatchRow, tickets: tuple[bytes, ...]) -> None:
            monkeypatch.undo()
            await add_match(row, tickets)
            assert lobby.seated == 2
            await clients[victim].kill()
            await until(lambda: lobby.seated < 2)

        monkeypatch.setattr(server.server.catalogue, "add_match", kill_meanwhile)
        await clients[0].join(name="client-0")
        await clients[1].join(name="client-1")
        await until_waiting(server, 1)
        survivor = clients[1 - victim]
        await clients[2].join(name="client-2")
        start = await survivor.start()
        assert start.participants == (f"client-{1 - victim}", "client-2")
        assert (await clients[2].start()).match == start.match
        assert start.seed == match_seed(5, 0)
        assert [row.id for row in await server.server.catalogue.open_matches()] == [start.match]


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("relays", [0, 1])
async def test_a_death_before_play_annuls_the_match_and_the_partner_is_next(
    tmp_path: Path, victim: int, relays: int
) -> None:
    async with running(make_settings(tmp_path, matches=1)) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server.url)) for _ in range(4)]
        await clients[0].join(name="client-0")
        await clients[1].join(name="client-1")
        starts = [await clients[0].start(), await clients[1].start()]
        lines = [await clients[victim].relay(starts[victim]) for _ in range(relays)]
        await clients[2].join(name="client-2")
        await clients[3].join(name="client-3")
        await clients[victim].kill()
        survivor = clients[1 - victim]
        over = await survivor.over()
        assert (over.match, over.reason) == (starts[0].match, "annulled")
        again = await survivor.start()
        assert again.participants == (f"client-{1 - victim}", "client-2")
        assert again.match != starts[0].match
        assert (await clients[2].start()).match == again.match
        assert server.server.matchmaker.desks[0].lobby.queue() == (clients[3].sio.get_sid(),)
        for line in lines:
            await line.close()


async def test_who_never_opens_the_relay_loses_its_seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.server.play.departures.MARGIN", 0.0)
    play = Play(episodes=1, frame_limit=40, start_timeout=0.3)
    async with running(make_settings(tmp_path, play=play)) as server, AsyncExitStack() as stack:
        stuck, one, two = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        await stuck.join(name="stuck")
        await one.join(name="one")
        line = await one.relay(await one.start())
        assert (await one.over()).reason == "annulled"
        assert (await stuck.over()).reason == "removed: the relay was not opened in time"
        await two.join(name="two")
        assert (await one.start()).participants == ("one", "two")
        assert (await stuck.join())["ok"]
        await line.close()


async def test_a_match_with_an_acknowledged_upload_is_not_annulled(tmp_path: Path) -> None:
    play = Play(episodes=1, frame_limit=40)
    async with running(make_settings(tmp_path, play=play)) as server, AsyncExitStack() as stack:
        one, stuck = [await stack.enter_async_context(Client(server.url)) for _ in range(2)]
        await one.join(name="one")
        await stuck.join(name="stuck")
        start = await one.start()
        line = await one.relay(start)
        await one.upload(start, make_export(start, frames=0, status="aborted"))
        match = server.server.matches.get(start.match)
        assert match is not None
        server.server.matches.departures.start_is_due(match)
        assert (await stuck.over()).reason == "removed: the relay was not opened in time"
        assert (await one.peer_left()).player == 1
        await one.call("finished", {"episodes": 1})
        assert (await one.verdict()).verdict == "single"
        assert (await one.over()).reason == "incomplete: of 1 episodes 1 single"
        assert (await stuck.join())["ok"]
        await line.close()


async def test_a_player_who_leaves_before_play_may_join_again(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one, Client(server.url) as two:
        await one.join()
        await two.join()
        first = await one.start()
        assert await one.call("leave", {}) == {"ok": True}
        assert (await two.over()).reason == "annulled"
        assert (await one.join())["ok"]
        again = await one.start()
        assert again.match != first.match
        assert again.player == 1


async def test_a_death_during_play_is_told_to_the_partner(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, upload_grace=600.0)) as server, AsyncExitStack() as stack:
        (one, a), (two, _) = await stack.enter_async_context(pair(server.url))
        await two.kill()
        left = await one.peer_left()
        assert (left.match, left.player) == (a.match, 1)
        match = server.server.matches.get(a.match)
        assert match is not None
        assert match.phase is Phase.PLAYING


async def test_other_games_and_protocols_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one:
        ours = identity(Drift().spec)
        answer = await one.join(game=msgspec.structs.replace(ours, version="2"))
        assert answer["error"]["code"] == "game_mismatch"
        assert answer["error"]["field"] == "game.version"
        assert (answer["error"]["expected"], answer["error"]["actual"]) == ("1", "2")
        answer = await one.join(game=identity(Drift(max_frames=9).spec))
        assert answer["error"]["field"] == "game.parameters.max_frames"
        assert (answer["error"].get("expected"), answer["error"]["actual"]) == (None, 9)
        answer = await one.join(protocol=PROTOCOL_VERSION + 1)
        assert answer["error"]["code"] == "protocol_mismatch"
        assert answer["error"]["expected"] == PROTOCOL_VERSION
        assert server.server.matchmaker.desks[0].lobby.waiting == 0
        assert (await one.join())["ok"]


async def test_a_full_queue_refuses(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, limits=Limits(waiting=16, free_bytes=0), matches=1)
    async with running(settings) as server, pair(server.url), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(server.url)) for _ in range(17)]
        answers = [await client.join() for client in clients]
        assert all(answer["ok"] for answer in answers[:16])
        assert answers[16]["error"]["code"] == "full"


async def test_more_connections_than_allowed_are_refused(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, limits=Limits(connections=1, free_bytes=0))
    async with running(settings) as server, Client(server.url) as one:
        other = Client(server.url)
        with pytest.raises(Exception, match=r"(?i)connection|unauthorized|401"):
            await other.__aenter__()
        await other.http.close()
        assert (await one.join())["ok"]


async def test_after_the_last_match_nobody_is_kept_waiting(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, matches=1)) as server, Client(server.url) as late:
        async with pair(server.url) as ((one, a), (two, _)):
            await late.join()
            assert (await one.call("finished", {"episodes": 0}))["ok"]
            assert (await two.call("finished", {"episodes": 0}))["ok"]
            assert (await one.over()).match == a.match
        async with asyncio.timeout(WAIT):
            message = await late.heard.get()
        assert isinstance(message, ErrorReply)
        assert message.code == "no_more_matches"
        assert (await late.join())["error"]["code"] == "no_more_matches"


async def test_a_match_after_a_match_on_the_same_connection(tmp_path: Path) -> None:
    seen: list[MatchStart] = []
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one, Client(server.url) as two:
        for _ in range(3):
            for client in (one, two):
                assert (await client.join())["ok"]
            starts = [await one.start(), await two.start()]
            lines = [await one.relay(starts[0]), await two.relay(starts[1])]
            for client in (one, two):
                assert (await client.call("finished", {"episodes": 0}))["ok"]
            assert (await one.over()).match == (await two.over()).match == starts[0].match
            for line in lines:
                await line.close()
            seen += starts
        assert len({start.match for start in seen}) == 3
        assert len({start.ticket for start in seen}) == 6
