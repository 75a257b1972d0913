"""Several experiments on one server, and several servers' processes on one experiment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.identity import identity
from rollgym.games.registry import make
from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.protocol.seeds import match_seed
from rollgym.server.errors import ServerError
from rollgym.server.events.stream import EventStream
from rollgym.server.http.server import Server
from rollgym.server.http.status import status
from rollgym.server.play.experiment import Player, RunningExperiment
from rollgym.server.play.matches import Matches
from rollgym.server.play.series import Series
from rollgym.server.settings import Experiment, GameSettings, Play
from rollgym.server.storage.errors import CatalogueError
from rollgym.server.storage.rows import SeriesProgress
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.server.clients import Client, make_settings, running, until
from tests.server.exports import make_export

PLAY = Play(episodes=1, frame_limit=40)
DRIFT = Experiment(name="two", condition="drift", game=GameSettings(id="drift"), play=PLAY, seed=5, matches=1)
PONG = Experiment(name="two", condition="pong", game=GameSettings(id="pong"), play=PLAY, seed=6, matches=2)


def pong() -> GameIdentity:
    game = make("pong", {})
    try:
        return identity(game.spec)
    finally:
        game.close()


async def test_clients_are_paired_with_those_of_their_experiment_and_each_has_its_quota(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    async with running(settings, experiments=(DRIFT, PONG)) as server, AsyncExitStack() as stack:
        one, two, three, four = [await stack.enter_async_context(Client(server.url)) for _ in range(4)]
        assert (await one.join(name="one"))["ok"]
        assert (await two.join(name="two", game=pong()))["ok"]
        assert (await three.join(name="three", game=pong()))["ok"]
        a, b = await two.start(), await three.start()
        assert a.match == b.match
        assert a.participants == ("two", "three")
        assert a.seed == match_seed(6, 0)
        shown = await status(server.server)
        assert [(e["condition"], e["waiting"], e["matches_begun"]) for e in shown["experiments"]] == [
            ("drift", 1, 0),
            ("pong", 0, 1),
        ]
        assert (await four.join(name="four"))["ok"]
        start = await one.start()
        assert start.participants == ("one", "four")
        assert start.seed == match_seed(5, 0)
        for client, begun in ((one, start), (four, await four.start())):
            await client.upload(begun, make_export(begun))
            await client.call("finished", {"episodes": 1})
        assert (await one.over()).reason == "complete"
        # That experiment has what it asks for; the other goes on.
        refused = await one.join()
        assert refused["error"]["code"] == "no_more_matches"
        assert not server.server.matches.done.is_set()
        for client in (two, three):
            await client.call("finished", {"episodes": 0})
        await two.over()
        again = [await client.join(game=pong()) for client in (two, three)]
        assert all(answer["ok"] for answer in again)
        assert (await two.start()).seed == match_seed(6, 1)
        for client in (two, three):
            await client.call("finished", {"episodes": 0})
        await until(server.server.matches.done.is_set)
        found = await server.server.catalogue.open_matches()
        assert found == []


async def test_who_waits_for_one_experiment_is_not_sent_home_with_another(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    async with running(settings, experiments=(DRIFT, PONG)) as server, AsyncExitStack() as stack:
        waiting, one, two = [await stack.enter_async_context(Client(server.url)) for _ in range(3)]
        await waiting.join(game=pong())
        for client in (one, two):
            await client.join()
        for client in (one, two):
            begun = await client.start()
            await client.upload(begun, make_export(begun))
            await client.call("finished", {"episodes": 1})
        await one.over()
        assert server.server.matchmaker.desks[1].lobby.waiting == 1
        assert not waiting.gone.is_set()


async def test_a_game_of_no_experiment_is_refused_with_the_field_of_the_nearest(tmp_path: Path) -> None:
    async with (
        running(make_settings(tmp_path), experiments=(DRIFT, PONG)) as server,
        Client(server.url) as client,
    ):
        changed = msgspec.structs.replace(pong(), version="0")
        error = (await client.join(game=changed))["error"]
        assert (error["code"], error["field"]) == ("game_mismatch", "game.version")


async def test_experiments_of_one_name_and_condition_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    server = Server(make_settings(tmp_path / "data"), experiments=(DRIFT, DRIFT))
    with pytest.raises(ServerError, match="another name or condition"):
        await server.check()
    assert not (tmp_path / "data").exists()


# --- two processes over one catalogue ---------------------------------------------------------------------------


def a_process(catalogue: SqliteCatalogue, owner: str, progress: SeriesProgress) -> tuple[Matches, RunningExperiment]:
    """The matches of a server's process, without its sockets."""
    experiment = RunningExperiment(DRIFT, pong(), PlaySettings(frame_limit=9), Series(progress, None), 9, owner)
    nothing: object = None
    matches = Matches(
        [experiment],
        episode_frames=9,
        catalogue=catalogue,
        judging=nothing,  # type: ignore[arg-type]
        relay=nothing,  # type: ignore[arg-type]
        events=EventStream(),
        tell=nothing,  # type: ignore[arg-type]
        clock=asyncio.get_running_loop().time,
    )
    return matches, experiment


async def test_two_processes_over_one_catalogue_never_play_one_number(tmp_path: Path) -> None:
    players = (Player("c0", "a", {}), Player("c1", "b", {}))
    one, two = (SqliteCatalogue(tmp_path / "catalogue.sqlite") for _ in range(2))
    try:
        processes = [a_process(place, name, SeriesProgress(0, 0, 0, ())) for place, name in ((one, "a"), (two, "b"))]
        made = await asyncio.gather(
            *(matches.record(experiment, players) for matches, experiment in processes for _ in range(5))
        )
        rows = await one.open_matches()
        assert len(rows) == len(made) == 10
        assert sorted(row.number or 0 for row in rows) == [*range(10)]
        assert {row.seed for row in rows} == {match_seed(5, number) for number in range(10)}
        assert {row.owner for row in rows} == {"a", "b"}
    finally:
        for place in (one, two):
            place.close()


async def test_an_annulled_match_leaves_its_number_to_another(tmp_path: Path) -> None:
    players = (Player("c0", "a", {}), Player("c1", "b", {}))
    catalogue = SqliteCatalogue(tmp_path / "catalogue.sqlite")
    try:
        matches, experiment = a_process(catalogue, "a", SeriesProgress(0, 0, 0, ()))
        first, _ = await matches.record(experiment, players)
        same = RunningExperiment(
            DRIFT, experiment.game, experiment.play, Series(SeriesProgress(0, 0, 0, ()), None), 9
        ).next_match(players)
        with pytest.raises(CatalogueError) as caught:
            await catalogue.add_match(same, (b"x", b"y"))
        assert (caught.value.kind, caught.value.final) == ("taken", True)
        assert await catalogue.annul_match(first.row.id, 1.0, "annulled")
        await catalogue.add_match(same, (b"x", b"y"))
    finally:
        catalogue.close()


@given(st.sets(st.integers(0, 30)), st.integers(0, 40))
def test_a_series_that_looks_again_takes_no_number_that_is_in_use(used: set[int], mine: int) -> None:
    series = Series(SeriesProgress(0, 0, 0, ()), None)
    for _ in range(mine):
        series.take()
    following = max(used, default=-1) + 1
    free = tuple(sorted(set(range(following)) - used))
    series.look_again(SeriesProgress(len(used), 0, following, free))
    taken = [series.take() for _ in range(5)]
    assert len(set(taken)) == 5
    assert not used & set(taken)
