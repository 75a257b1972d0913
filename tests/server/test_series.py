"""What an experiment asks for is counted over all runs of the server, and no seed is played twice."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.messages import ErrorReply, MatchStart
from rollgym.protocol.seeds import match_seed
from rollgym.server.http.status import status
from rollgym.server.play.series import Series
from rollgym.server.storage.rows import SeriesProgress
from tests.server.clients import Client, make_settings, pair, running, until
from tests.server.test_serve import process


def restarted(rows: dict[int, list[str]]) -> SeriesProgress:
    """What the catalogue says of the matches in it: number -> what became of each that had it."""
    kept = {number: [state for state in states if state != "annulled"] for number, states in rows.items()}
    used = {number for number, states in kept.items() if states}
    following = max(used, default=-1) + 1
    everything = [state for states in kept.values() for state in states]
    free = tuple(sorted(set(range(following)) - used))
    return SeriesProgress(len(everything), everything.count("over"), following, free)


@given(
    st.lists(st.sampled_from(["begin", "end", "annul", "restart", "kill before it is written"]), max_size=40),
    st.integers(1, 6),
)
def test_no_number_is_played_twice_whatever_happens_and_when(steps: list[str], wanted: int) -> None:
    rows: dict[int, list[str]] = {}
    series = Series(restarted(rows), wanted)
    open_now: list[int] = []
    for step in steps:
        if step == "begin" and series.room:
            number = series.take()
            rows.setdefault(number, []).append("open")
            series.begun += 1
            open_now.append(number)
        elif step == "end" and open_now:
            number = open_now.pop()
            rows[number][-1] = "over"
            series.over += 1
        elif step == "annul" and open_now:
            number = open_now.pop(0)
            series.begun -= 1
            rows[number][-1] = "annulled"
            series.give_back(number)
        elif step == "kill before it is written" and open_now:
            # The annulment was decided and told, and the disk does not know it: the number stays in use.
            series.begun -= 1
            open_now.pop(0)
            series = Series(restarted(rows), wanted)
        elif step == "restart":
            series = Series(restarted(rows), wanted)
        played = [number for number, states in rows.items() for state in states if state != "annulled"]
        assert len(played) == len(set(played)) <= wanted
        assert series.begun == len(played)
        assert series.room == (len(played) < wanted)
        assert series.done == (sum(states.count("over") for states in rows.values()) == wanted)


async def finished(pairs: tuple[tuple[Client, MatchStart], tuple[Client, MatchStart]]) -> None:
    for client, _ in pairs:
        assert (await client.call("finished", {"episodes": 0}))["ok"]
    for client, _ in pairs:
        await client.over()


async def test_a_restart_between_any_two_matches_repeats_no_seed_and_begins_nothing_again(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, matches=3)
    seeds = []
    for begun in range(3):
        async with running(settings) as server:
            assert server.server.matches.experiments[0].series.begun == begun
            async with pair(server.url) as pairs:
                await finished(pairs)
                seeds.append(pairs[0][1].seed)
            assert server.server.matches.done.is_set() == (begun == 2)
    assert seeds == [match_seed(5, number) for number in range(3)]
    async with running(settings) as server, Client(server.url) as late:
        assert (await late.join())["error"]["code"] == "no_more_matches"
        assert (await status(server.server))["matches_begun"] == 3


async def test_another_condition_in_the_same_folder_is_counted_by_itself(tmp_path: Path) -> None:
    for condition in ("a", "b", "a"):
        async with (
            running(make_settings(tmp_path, matches=2, condition=condition)) as server,
            pair(server.url) as pairs,
        ):
            await finished(pairs)
    async with running(make_settings(tmp_path, matches=2, condition="b")) as server:
        assert not server.server.matches.done.is_set()
        assert (
            server.server.matches.experiments[0].series.begun,
            server.server.matches.experiments[0].series.over,
        ) == (1, 1)


async def test_a_kill_in_the_middle_of_a_match_costs_that_match_and_no_seed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", matches=3).model_copy(update={"exit_when_done": True})
    seeds = []
    for _ in range(2):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(process(settings, tmp_path / "program.py"))
            (_, a), _ = await stack.enter_async_context(pair(server.url))
            seeds.append(a.seed)
            assert await server.end(signal.SIGKILL) == -signal.SIGKILL
    async with process(settings, tmp_path / "program.py") as server, pair(server.url) as pairs:
        await finished(pairs)
        seeds.append(pairs[0][1].seed)
        assert await server.process.wait() == 0  # all three are over: the two that were killed too
    assert seeds == [match_seed(5, number) for number in range(3)]


async def test_a_number_is_given_back_only_when_the_catalogue_knows_that_it_was_not_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        one, two, three, four = [await stack.enter_async_context(Client(server.url)) for _ in range(4)]
        catalogue, written = server.server.catalogue, False
        annul = catalogue.annul_match

        async def slowly(match: str, at: float, reason: str) -> bool:
            nonlocal written
            # The next pairing is recorded first, as when the disk is busy.
            await until(lambda: server.server.matches.experiments[0].series.begun == 1)
            undone = await annul(match, at, reason)
            written = True
            return undone

        monkeypatch.setattr(catalogue, "annul_match", slowly)
        await one.join()
        await two.join()
        first = await one.start()
        await two.kill()
        await three.join()
        second = await one.start()
        assert (first.seed, second.seed) == (match_seed(5, 0), match_seed(5, 1))
        await until(lambda: written)
        await two.http.close()
        assert [row.number for row in await catalogue.open_matches()] == [1]
        await four.join()
        async with Client(server.url) as five:
            await five.join()
            assert (await five.start()).seed == match_seed(5, 0)  # that number was never played


async def test_once_is_one_match_more(tmp_path: Path) -> None:
    from rollgym.server.http.server import Server

    settings = make_settings(tmp_path, matches=1)
    for begun in (0, 1):
        server = Server(settings, once=True)
        await server.start()
        try:
            assert server.matches.experiments[0].series.wanted == begun + 1
            assert not server.matches.done.is_set()
        finally:
            await server.say_goodbye()
            await server.stop()
        async with running(settings) as again:
            if not begun:
                async with pair(again.url) as pairs:
                    await finished(pairs)
            else:
                async with Client(again.url) as late:
                    answer = await late.join()
                    assert answer["error"]["code"] == "no_more_matches"
                    assert ErrorReply(**answer["error"]).message


async def test_once_does_not_wait_for_what_an_earlier_run_left(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, upload_grace=600.0)
    async with running(settings) as server, pair(server.url):
        assert server.server.matches.live  # and it goes down in the middle of it
    async with running(settings, once=True) as server:
        async with pair(server.url) as pairs:
            assert not server.server.matches.done.is_set()
            await finished(pairs)
        await until(server.server.matches.done.is_set)
        await until(lambda: not server.server.matches.live)
