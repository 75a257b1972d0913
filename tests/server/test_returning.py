"""A control connection that breaks during play is no departure: the seat is held, and given back for its token only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rollgym.protocol.messages import MatchOver, MatchStart, PeerLeft, Verdict
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.http.status import status
from rollgym.server.lobby.queue import Place
from rollgym.server.play.match import Match
from rollgym.server.settings import Play, ServerSettings
from tests.server.clients import WAIT, Client, Running, make_settings, pair, running, until
from tests.server.exports import PLAY, make_export

FIRST, SECOND, THIRD = (letter * 43 for letter in "abc")
"""Tokens as a client makes them up."""


def patient(data: Path, *, silence: float = 600.0, **experiment: Any) -> ServerSettings:
    """A server whose players may be silent for ``silence`` seconds."""
    play = Play(episodes=PLAY.episodes, frame_limit=PLAY.frame_limit, disconnect_timeout=silence)
    return make_settings(data, **{"play": play, "upload_grace": 600.0, **experiment})


def match_of(server: Running, start: MatchStart) -> Match:
    match = server.server.matches.get(start.match)
    assert match is not None
    return match


def states(server: Running, start: MatchStart) -> list[str]:
    return [seat.state for seat in match_of(server, start).seats]


def metric(server: Running, name: str) -> float:
    value: float = getattr(server.server.metrics, name)._value.get()
    return value


Pair = tuple[tuple[Client, MatchStart], tuple[Client, MatchStart]]


@asynccontextmanager
async def broken(settings: ServerSettings) -> AsyncIterator[tuple[Running, Pair, Client]]:
    """A running match whose second player's connection has just broken, and a fresh connection."""
    async with running(settings) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        back = await stack.enter_async_context(Client(server.url))
        await two.kill()
        await until(lambda: states(server, a) == ["here", "away"])
        yield server, ((one, a), (two, b)), back


async def test_who_comes_back_has_its_seat_again_and_nobody_was_told_anything(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((one, a), (_, b)), back):
        assert (metric(server, "connections_lost"), metric(server, "players_away")) == (1, 1)
        shown = await status(server.server)
        assert shown["matches"][0]["players"] == ["here", "away"]
        assert await back.resume(b, b.resume, FIRST) == {"ok": True}
        assert states(server, a) == ["here", "here"]
        assert (metric(server, "resumes"), metric(server, "players_away")) == (1, 0)
        assert (await back.join())["error"]["code"] == "already_playing"
        await one.upload(a, make_export(a))
        await back.upload(b, make_export(b))
        assert (await back.verdict()).verdict == (await one.verdict()).verdict == "verified"
        for client in (one, back):
            assert (await client.call("finished", {"episodes": 1}))["ok"]
        assert (await back.over()).match == (await one.over()).match == a.match
        assert one.heard.empty()
        assert not [message for message in one.earlier if isinstance(message, PeerLeft)]
        assert (await back.join())["ok"]


async def test_tokens_that_are_wrong_old_or_used_are_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((one, a), (_, b)), back), AsyncExitStack() as stack:
        match = match_of(server, a)
        lobby = server.server.matchmaker.desks[0].lobby

        async def refused(client: Client, start: MatchStart, token: str, code: str = "bad_resume") -> None:
            before = [(seat.client, seat.token, seat.lost_at, seat.member) for seat in match.seats]
            answer = await client.resume(start, token, SECOND)
            assert answer["error"]["code"] == code
            assert [(seat.client, seat.token, seat.lost_at, seat.member) for seat in match.seats] == before
            assert lobby.seated == sum(seat.client is not None for seat in match.seats)

        await refused(back, b, "wrong")
        await refused(back, b, b.ticket)  # another secret
        await refused(back, b.__class__(**{**_fields(b), "match": "m" + "0" * 24}), b.resume)
        await refused(one, a, b.resume, "already_playing")
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        other = await stack.enter_async_context(Client(server.url))
        await refused(other, b, b.resume)  # old, and a duplicate
        await back.kill()
        await until(lambda: states(server, a) == ["here", "away"])
        await refused(other, b, b.resume)  # old, also when the seat is free
        assert (await other.resume(b, FIRST, SECOND))["ok"]
        assert lobby.place(str(other.sio.get_sid())) is Place.SEATED
        assert states(server, a) == ["here", "here"]


def _fields(start: MatchStart) -> dict[str, Any]:
    return {name: getattr(start, name) for name in start.__struct_fields__}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"new_token": "short"}, "bad_message", "resume"),
        ({"new_token": None}, "bad_message", "resume"),
        ({"heard": 1}, "bad_message", "heard"),
        ({"heard": -1}, "bad_message", "resume"),
        ({"protocol": PROTOCOL_VERSION + 1}, "protocol_mismatch", "protocol"),
    ],
)
async def test_a_resume_that_makes_no_sense_costs_nothing(
    tmp_path: Path, change: dict[str, Any], code: str, field: str
) -> None:
    async with broken(patient(tmp_path)) as (server, ((_, a), (_, b)), back):
        good = {"protocol": PROTOCOL_VERSION, "match": b.match, "token": b.resume, "new_token": FIRST, "heard": 0}
        error = (await back.call("resume", {**good, **change}))["error"]
        assert (error["code"], error["field"]) == (code, field)
        error = (await back.call("resume", {**good, "new_token": b.resume}))["error"]
        assert (error["code"], error["field"]) == ("bad_message", "new_token")
        assert states(server, a) == ["here", "away"]
        assert (await back.call("resume", good))["ok"]


async def test_who_waits_for_another_match_is_not_taken_out_of_the_queue(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((_, a), (_, b)), back):
        await back.join()
        assert (await back.resume(b, b.resume, FIRST))["error"]["code"] == "already_waiting"
        assert server.server.matchmaker.desks[0].lobby.waiting == 1
        assert states(server, a) == ["here", "away"]


async def test_what_was_missed_is_said_again_and_nothing_twice(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (_, ((one, a), (two, b)), back):
        await one.upload(a, make_export(a))
        await back.upload(b, make_export(b))
        await one.verdict()
        await one.upload(a, make_export(a, episode=1))
        await back.upload(b, make_export(b, episode=1))
        await one.verdict()
        assert (await back.resume(b, b.resume, FIRST, heard=1))["ok"]
        assert (await back.verdict()).episode == 1  # it has heard the first
        await one.call("leave", {"reason": "enough"})
        assert (await back.peer_left()).reason == "enough"
        assert back.heard.empty()
        assert two.heard.empty()


async def test_a_match_that_ended_meanwhile_is_told_of(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((one, a), (_, b)), back):
        for episode in range(PLAY.episodes):
            await one.upload(a, make_export(a, episode=episode))
            await back.upload(b, make_export(b, episode=episode))
        assert (await one.over()).reason == "complete"
        await until(lambda: server.server.matches.get(a.match) is None)
        assert metric(server, "players_away") == 0
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        heard = [await back.expect(Verdict) for _ in range(PLAY.episodes)]
        assert [(verdict.episode, verdict.verdict) for verdict in heard] == [(n, "verified") for n in (0, 1, 2)]
        assert (await back.over()).reason == "complete"
        assert (await back.join())["ok"]


async def test_a_newer_connection_takes_over_from_one_that_is_not_known_to_be_dead(tmp_path: Path) -> None:
    async with running(patient(tmp_path)) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        back = await stack.enter_async_context(Client(server.url))
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        async with asyncio.timeout(WAIT):
            await two.gone.wait()
        assert states(server, a) == ["here", "here"]
        await one.upload(a, make_export(a))
        await back.upload(b, make_export(b))
        assert (await back.verdict()).verdict == "verified"
        assert [client for client in (one, two) if any(isinstance(m, PeerLeft) for m in client.earlier)] == []


async def test_an_annulled_pairing_is_told_of_and_the_client_waits_again(tmp_path: Path) -> None:
    async with running(patient(tmp_path)) as server, AsyncExitStack() as stack:
        one, two, back, third = [await stack.enter_async_context(Client(server.url)) for _ in range(4)]
        await one.join(name="one")
        await two.join(name="two")
        a, b = await one.start(), await two.start()
        assert (await two.call("leave", {}))["ok"]
        await until(lambda: server.server.matches.get(a.match) is None)
        await one.kill()  # before it could read of it, let us say
        await until(lambda: server.server.matchmaker.desks[0].lobby.waiting == 0)
        assert (await back.resume(b, b.resume, FIRST))["error"]["code"] == "left"
        assert (await back.resume(a, a.resume, FIRST))["ok"]
        assert (await back.over()) == MatchOver(a.match, "annulled")
        await third.join(name="third")
        assert (await back.start()).participants == (await third.start()).participants == ("one", "third")


async def test_who_is_not_back_in_time_has_left(tmp_path: Path) -> None:
    async with broken(patient(tmp_path, silence=0.3)) as (server, ((one, a), (_, b)), back):
        left = await one.peer_left()
        assert (left.player, left.match) == (1, a.match)
        assert states(server, a) == ["here", "left"]
        assert metric(server, "players_away") == 0
        assert (await back.resume(b, b.resume, FIRST))["error"]["code"] == "left"
        assert (await back.join())["ok"]


async def test_a_seat_is_held_for_the_away_limit_where_partners_play_on(tmp_path: Path) -> None:
    play = Play(episodes=1, frame_limit=40, disconnect_timeout=0.01, away="play_on", away_limit=600.0)
    async with broken(patient(tmp_path, play=play)) as (server, ((one, a), (_, b)), back):
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        assert states(server, a) == ["here", "here"]
        assert not [message for message in one.earlier if isinstance(message, PeerLeft)]


async def test_a_second_break_is_held_as_long_as_the_first(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((_, a), (_, b)), back), Client(server.url) as again:
        first = match_of(server, a).seats[1].lost_at
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        await back.kill()
        await until(lambda: states(server, a) == ["here", "away"])
        second = match_of(server, a).seats[1].lost_at
        assert first is not None
        assert second is not None
        assert second > first
        assert (await again.resume(b, FIRST, SECOND))["ok"]


async def test_a_silent_client_is_away_and_its_seat_is_held(tmp_path: Path) -> None:
    settings = patient(tmp_path).model_copy(update={"ping_interval": 1, "ping_timeout": 0.5})
    async with running(settings) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        two.sio.eio.ws._response.connection.transport.pause_reading()  # stopped, as by SIGSTOP: it answers no ping
        await until(lambda: states(server, a) == ["here", "away"])
        back = await stack.enter_async_context(Client(server.url))
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        assert states(server, a) == ["here", "here"]
        assert one.heard.empty()


async def test_a_goodbye_is_a_departure_at_once(tmp_path: Path) -> None:
    async with running(patient(tmp_path)) as server, AsyncExitStack() as stack:
        (one, a), (two, _) = await stack.enter_async_context(pair(server.url))
        await two.sio.disconnect()
        assert (await one.peer_left()).player == 1
        assert states(server, a) == ["here", "left"]


async def test_finished_twice_is_once(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((_, a), (_, b)), back), Client(server.url) as again:
        assert (await back.resume(b, b.resume, FIRST))["ok"]
        assert (await back.call("finished", {"episodes": 0}))["ok"]
        assert (await back.call("finished", {"episodes": 0}))["ok"]
        await back.kill()
        assert (await again.resume(b, FIRST, SECOND))["ok"]
        assert (await again.call("finished", {"episodes": 0}))["ok"]
        assert states(server, a) == ["here", "finished"]


async def test_a_server_that_stops_gives_no_seats(tmp_path: Path) -> None:
    async with broken(patient(tmp_path)) as (server, ((_, a), (_, b)), back):
        server.server.matchmaker.close()
        assert (await back.resume(b, b.resume, FIRST))["error"]["code"] == "closing"
        assert states(server, a) == ["here", "away"]


async def test_when_a_stuck_player_is_removed_the_other_has_its_verdict(tmp_path: Path) -> None:
    async with running(patient(tmp_path)) as server, AsyncExitStack() as stack:
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        match = match_of(server, a)
        await one.upload(a, make_export(a))
        match.seats[1].signs.moved -= match.patience  # it said nothing for so long, but hello
        server.server.matches.departures.look(match)
        assert (await one.peer_left()).reason == "stuck"
        assert (await two.over()).reason == "removed: stuck"
        assert (await two.resume(b, b.resume, FIRST))["error"]["code"] == "left"
        assert (await one.verdict()).verdict == "single"
        assert (await one.call("finished", {"episodes": 1}))["ok"]
        assert (await one.over()).reason.startswith("incomplete: of 3 episodes 1 single")
        assert (await two.join())["ok"]
        assert two.heard.empty()
