"""The catalogue or the disk refuses: once, for a while, for good. Nobody waits for ever; what was not done is said."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rollgym.processes.workers import Workers
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import ANNULLED, MatchStart, PeerLeft
from rollgym.server.errors import ServerError
from rollgym.server.play.experiment import Player
from rollgym.server.record import ingest
from rollgym.server.record.verdicts import GameFailedError, judge_episode
from rollgym.server.settings import Play
from rollgym.server.storage.errors import CatalogueError
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.persistence import PAUSES
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.server.clients import Client, Running, make_settings, pair, running, until
from tests.server.exports import FRAMES, altered, make_export
from tests.server.test_judging import status
from tests.server.test_recovery import judged, until_killed

ONCE, A_WHILE, FOR_GOOD = 1, len(PAUSES) - 1, 1000

READS = {"match", "open_matches", "progress", "holder", "upload", "uploads", "all_uploads", "unjudged", "refusals"} | {
    "verdict",
    "verdicts",
    "counts",
}
IN_A_MATCH = ("player_left", "end_match", "add_upload", "set_verdict")
ELSEWHERE = {"add_match", "drop_match", "annul_match", "drop_upload", "add_conflict", "set_unjudged", "add_refusal"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.server.storage.persistence.PAUSES", tuple(0.0 for _ in PAUSES))


class Refusing:
    """Makes a method refuse so many times, and counts."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, times: int, error: Exception) -> None:
        self.refused = 0
        really = getattr(owner, name)
        asynchronous = inspect.iscoroutinefunction(really)

        def refuse() -> None:
            if self.refused < times:
                self.refused += 1
                raise error

        async def call_later(*args: Any, **kwargs: Any) -> Any:
            refuse()
            return await really(*args, **kwargs)

        def call(*args: Any, **kwargs: Any) -> Any:
            refuse()
            return really(*args, **kwargs)

        patch.setattr(owner, name, call_later if asynchronous else call)


def catalogue_refuses(patch: pytest.MonkeyPatch, name: str, times: int) -> Refusing:
    return Refusing(patch, SqliteCatalogue, name, times, CatalogueError("disk I/O error"))


def test_every_write_of_the_catalogue_is_refused_in_some_test() -> None:
    methods = {name: value for name, value in vars(SqliteCatalogue).items() if inspect.iscoroutinefunction(value)}
    writes = {name for name, value in methods.items() if re.search("INSERT|UPDATE |DELETE", inspect.getsource(value))}
    assert writes == {*IN_A_MATCH} | ELSEWHERE
    assert set(methods) - writes == READS


async def upload(client: Client, start: MatchStart, export: Export) -> int:
    """Like a client does: again and again as long as it may succeed. How many attempts that took."""
    for attempt in range(1, A_WHILE + 3):
        code, answer = await client.put(start, encode_export(export))
        if code == 200:
            return attempt
        assert code >= 500, answer
    raise AssertionError("never taken")


@asynccontextmanager
async def one_match(data: Path) -> AsyncIterator[tuple[Running, Client, MatchStart, Client, MatchStart]]:
    play = Play(episodes=1, frame_limit=FRAMES)
    settings = make_settings(data, matches=1, play=play)
    async with running(settings) as server, pair(server.url) as ((one, a), (two, b)):
        yield server, one, a, two, b


async def play_out(one: Client, a: MatchStart, two: Client, b: MatchStart) -> str:
    """Both upload, one leaves before the other one has. What they are told at the end."""
    await upload(two, b, make_export(b))
    assert (await two.call("leave", {"reason": "enough"}))["ok"]
    await upload(one, a, make_export(a))
    reason = (await one.over()).reason
    assert (await two.over()).reason == reason
    return reason


@pytest.mark.parametrize("times", [ONCE, A_WHILE])
@pytest.mark.parametrize("name", IN_A_MATCH)
async def test_a_catalogue_that_refuses_for_a_while_costs_a_match_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: int
) -> None:
    refusing = catalogue_refuses(monkeypatch, name, times)
    async with one_match(tmp_path) as (server, one, a, two, b):
        assert await play_out(one, a, two, b) == "complete"
        await until(server.server.matches.done.is_set)
        assert refusing.refused == times
        row = await server.server.catalogue.verdict(a.match, 0)
        assert row is not None
        assert row.verdict == "verified"
        assert await server.server.catalogue.open_matches() == []
        assert (await status(server))["unrecorded"] == []


@pytest.mark.parametrize("name", ["player_left", "end_match", "set_verdict"])
async def test_one_that_refuses_for_good_keeps_nobody_waiting_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        catalogue_refuses(patch, name, FOR_GOOD)
        async with one_match(tmp_path) as (server, one, a, two, b):
            reason = await play_out(one, a, two, b)
            await until(server.server.matches.done.is_set)
            said = await status(server)
            if name == "set_verdict":
                assert reason == "incomplete: episode 0 was not judged: disk I/O error"
                assert [(row["kind"], row["reason"]) for row in said["unjudged"]] == [("refused", "disk I/O error")]
            else:
                assert reason == "complete"
                if name == "end_match":  # else the end was recorded after it
                    assert said["unrecorded"] == [{"match": a.match, "reason": "end_match: disk I/O error"}]
    async with running(make_settings(tmp_path)) as server:  # the next start brings it to its end
        await until(lambda: server.server.matches.get(a.match) is None)
        row = await server.server.catalogue.verdict(a.match, 0)
        assert row is not None
        assert row.verdict == "verified"
        assert await server.server.catalogue.open_matches() == []


@pytest.mark.parametrize("times", [ONCE, A_WHILE])
async def test_a_pairing_that_is_not_recorded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr("rollgym.server.lobby.matchmaker._RETRY", 0.0)
    refusing = catalogue_refuses(monkeypatch, "add_match", times)
    async with one_match(tmp_path) as (_, one, a, two, b):
        assert refusing.refused == times
        assert await play_out(one, a, two, b) == "complete"


@pytest.mark.parametrize("times", [ONCE, FOR_GOOD])
async def test_an_annulment_that_is_not_recorded_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    refusing = catalogue_refuses(monkeypatch, "annul_match", times)
    async with running(make_settings(tmp_path)) as server, Client(server.url) as one, Client(server.url) as three:
        async with Client(server.url) as two:
            await one.join(name="one")
            await two.join(name="two")
            first = await one.start()
            await two.kill()
            assert (await one.over()).reason == ANNULLED
        await three.join(name="three")
        second = await one.start()
        assert second.match != first.match
        assert second.participants == ("one", "three")
        await until(lambda: refusing.refused in (ONCE, len(PAUSES) + 1))
        if times == ONCE:
            await until(lambda: not server.server.matches.unrecorded)
        else:
            await until(lambda: first.match in server.server.matches.unrecorded)
            assert first.seed != second.seed  # its number is not given away again


@pytest.mark.parametrize("times", [ONCE, FOR_GOOD])
async def test_a_withdrawal_that_is_not_recorded_does_not_end_the_pairing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    catalogue_refuses(monkeypatch, "drop_match", times)
    async with running(make_settings(tmp_path)) as server:
        players = tuple(Player(f"client-{n}", f"p{n}", {}) for n in range(2))
        match, _ = await server.server.matches.record(server.server.matches.experiments[0], players)
        await server.server.matches.withdraw(match)
        assert bool(server.server.matches.unrecorded) == (times == FOR_GOOD)
        async with pair(server.url) as ((_, a), _):
            assert a.match != match.row.id
        rows = [row.id for row in await server.server.catalogue.open_matches()]
        assert (match.row.id in rows) == (times == FOR_GOOD)


@pytest.mark.parametrize("name", ["add_conflict", "add_refusal", "set_unjudged"])
@pytest.mark.parametrize("times", [ONCE, FOR_GOOD])
async def test_notes_that_are_not_taken_change_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, times: int
) -> None:
    run_within = Workers.run_within

    async def fail(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        if fn is judge_episode:
            raise GameFailedError("it raised")
        return await run_within(self, seconds, fn, *args)

    catalogue_refuses(monkeypatch, name, times)
    monkeypatch.setattr(Workers, "run_within", fail)
    async with one_match(tmp_path) as (_, one, a, two, b):
        export = make_export(a)
        code, answer = await one.put(a, b"not one")
        assert (code, answer["error"]["code"]) == (400, "bad_export")
        await upload(one, a, export)
        code, answer = await one.put(a, encode_export(altered(export, "rewards", 1)))
        assert (code, answer["error"]["code"]) == (409, "conflict")
        assert await play_out(one, a, two, b) == "incomplete: episode 0 was not judged: it raised"


async def test_what_was_refused_is_kept_with_its_reason(tmp_path: Path) -> None:
    async with one_match(tmp_path) as (server, one, a, _, _):
        for _ in range(3):
            await one.put(a, b"not one")
        await one.put(a, encode_export(make_export(a)), Content_Encoding="br")
        bad, encoding = sorted(await server.server.catalogue.refusals(), key=lambda row: -row.times)
        assert (bad.match, bad.episode, bad.player, bad.code, bad.times) == (a.match, 0, 0, "bad_export", 3)
        assert (encoding.code, encoding.times) == ("bad_encoding", 1)
        shown = (await status(server))["refused"]
        assert {row["code"] for row in shown} == {"bad_export", "bad_encoding"}


@pytest.mark.parametrize("times", [ONCE, A_WHILE])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(ingest, "Body"), *((FolderStore, name) for name in ("put_upload", "discard_uploads", "new_temporary"))],
)
async def test_a_disk_that_refuses_for_a_while_costs_a_match_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int
) -> None:
    async with one_match(tmp_path) as (server, one, a, two, b):
        refusing = Refusing(monkeypatch, owner, name, times, OSError(5, "Input/output error"))
        assert await play_out(one, a, two, b) == "complete"
        await until(server.server.matches.done.is_set)
        assert refusing.refused == times
        assert server.server.matches.unrecorded == {}
        assert [*(tmp_path / "tmp").iterdir()] == []
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]


@pytest.mark.parametrize("times", [ONCE, A_WHILE, FOR_GOOD])
async def test_a_disk_that_refuses_the_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    run_within, refused = Workers.run_within, 0

    async def refuse(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        nonlocal refused
        if fn is judge_episode and refused < times:
            refused += 1
            raise OSError(28, "No space left on device")
        return await run_within(self, seconds, fn, *args)

    monkeypatch.setattr(Workers, "run_within", refuse)
    async with one_match(tmp_path) as (server, one, a, two, b):
        reason = await play_out(one, a, two, b)
        await until(server.server.matches.done.is_set)
        if times == FOR_GOOD:
            assert reason == "incomplete: episode 0 was not judged: [Errno 28] No space left on device"
            assert len([*(tmp_path / "inbox").rglob("*.msgpack")]) == 2
        else:
            assert reason == "complete"


async def test_an_upload_whose_answer_got_lost_still_gets_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalogue takes a late upload, and refuses to say which match it is of."""
    async with one_match(tmp_path) as (server, one, a, two, b):
        await upload(one, a, make_export(a))
        for client in (one, two):
            await client.call("finished", {"episodes": 1})
        await one.over()
        refusing = catalogue_refuses(monkeypatch, "verdicts", ONCE)
        assert await upload(two, b, make_export(b)) == 2
        assert refusing.refused == 1

        async def verified() -> bool:
            row = await server.server.catalogue.verdict(a.match, 0)
            return row is not None and row.verdict == "verified"

        while not await verified():  # noqa: ASYNC110 - nobody is told of a late verdict
            await asyncio.sleep(0)
        assert not [message for message in one.earlier if isinstance(message, PeerLeft)]


@pytest.mark.parametrize("name", ["progress", "all_uploads", "verdicts", "open_matches", "uploads"])
async def test_a_catalogue_that_refuses_at_the_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, _):
        await one.upload(a, make_export(a))
    with monkeypatch.context() as patch:
        catalogue_refuses(patch, name, FOR_GOOD)
        with pytest.raises(ServerError, match=r"catalogue .*catalogue\.sqlite: disk I/O error"):
            async with running(make_settings(tmp_path)):
                pass
    async with running(make_settings(tmp_path)) as server:
        assert (await judged(server, a.match)).verdict == "single"


@pytest.mark.parametrize("times", [ONCE, FOR_GOOD])
async def test_a_row_that_cannot_be_dropped_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Its file is gone: tried for a while, and then said instead of starting with a catalogue that is wrong."""
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, _):
        await one.upload(a, make_export(a))
    (tmp_path / "inbox" / a.match / "000000.0.msgpack").unlink()
    refusing = catalogue_refuses(monkeypatch, "drop_upload", times)
    if times == ONCE:
        async with running(make_settings(tmp_path)) as server:
            assert [orphan.kind for orphan in server.server.orphans] == ["missing_upload"]
            assert await server.server.catalogue.all_uploads() == []
    else:
        with pytest.raises(ServerError, match="disk I/O error"):
            async with running(make_settings(tmp_path)):
                pass
        assert refusing.refused == len(PAUSES) + 1
