"""From uploads to a verdict and a dataset."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.episode.export import Canonical, Export, Header, Own, RollbackEvent, Status, content_digest
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.parquet import EpisodeFileError, read_episode, write_episode
from rollgym.protocol.messages import ONLY_RELAY, MatchStart
from rollgym.server.record.verdicts import Job, find, judge_episode
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow
from tests.server.clients import Client, Running, make_settings, pair, running
from tests.server.exports import FRAMES, PLAY, Part, altered, make_export

TOO_LARGE = RollbackEvent(1 << 63, 0, 1, 0, b"", b"", 0.0)
"""Parquet has no such integer."""


def folder(data: Path, match: str, episode: int = 0) -> Path:
    return data / "episodes" / match / f"episode_{episode:06d}"


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


async def row(server: Running, match: str, episode: int = 0) -> EpisodeRow:
    found = await server.server.catalogue.verdict(match, episode)
    assert found is not None
    return found


async def test_two_equal_exports_are_verified_and_stored_once(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        assert await one.upload(a, make_export(a)) == "new"
        assert await two.upload(b, make_export(b)) == "new"
        verdict = await one.verdict()
        assert (verdict.match, verdict.episode, verdict.verdict) == (a.match, 0, "verified")
        assert await two.verdict() == verdict
        place = folder(tmp_path, a.match)
        assert names(place) == ["canonical.parquet", "player_0.parquet", "player_1.parquet"]
        stored = read_episode(place / "canonical.parquet")
        wanted = make_export(a)
        assert (stored.header, stored.canonical, stored.own) == (wanted.header, wanted.canonical, None)
        assert read_episode(place / "player_1.parquet").own == make_export(b).own
        assert stored.extra["verdict"] == "verified"
        assert stored.extra["experiment"] == "default"
        assert json.loads(stored.extra["digests"]) == {"0": wanted.digest.hex(), "1": wanted.digest.hex()}
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]
        assert not [*(tmp_path / "tmp").iterdir()]
        assert (await row(server, a.match)).digest == wanted.digest


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize(
    ("part", "frame"),
    [("rewards", 17), ("observations/player_0/position", 5), ("actions/player_1", 0), ("state_digest", FRAMES)],
)
async def test_one_altered_value_diverges_and_both_versions_are_kept(
    tmp_path: Path, part: Part, frame: int, victim: int
) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        exports = [make_export(a), make_export(b)]
        exports[victim] = altered(exports[victim], part, frame)
        await one.upload(a, exports[0])
        await two.upload(b, exports[1])
        assert (await one.verdict()).verdict == "diverged"
        found = await row(server, a.match)
        assert found.mismatch is not None
        assert (found.mismatch["frame"], found.mismatch["field"]) == (frame, part)
        place = folder(tmp_path, a.match)
        assert names(place) == [
            "canonical.player_0.parquet",
            "canonical.player_1.parquet",
            "player_0.parquet",
            "player_1.parquet",
        ]
        for player in (0, 1):
            assert read_episode(place / f"canonical.player_{player}.parquet").canonical == exports[player].canonical


@pytest.mark.parametrize(("part", "frame"), [("rewards", 3), ("actions/player_0", 7)])
async def test_what_both_say_alike_but_was_never_played_is_found_by_the_replay(
    tmp_path: Path, part: Part, frame: int
) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, altered(make_export(a), part, frame))
        await two.upload(b, altered(make_export(b), part, frame))
        verdict = await one.verdict()
        assert verdict.verdict == "diverged"
        assert verdict.detail.startswith("replay: frame")
        found = await row(server, a.match)
        assert found.mismatch is not None
        # An altered input shows in what it led to.
        assert frame <= found.mismatch["frame"] <= frame + 1


async def finish(*clients: Client) -> None:
    for client in clients:
        assert (await client.call("finished", {"episodes": 1}))["ok"]


async def test_one_export_alone_is_single_when_both_are_through(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, _)):
        await one.upload(a, make_export(a))
        await finish(one, two)
        verdict = await two.verdict()
        detail = f"nothing from player 1; player 0 has the complete episode, {FRAMES} frames"
        assert (verdict.verdict, verdict.detail) == ("single", detail)
        assert names(folder(tmp_path, a.match)) == ["canonical.parquet", "player_0.parquet"]
        assert (await one.over()).reason == "incomplete: of 3 episodes 1 single, 2 not received"


async def test_a_late_upload_makes_a_single_episode_verified(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await finish(one, two)
        await one.over()
        assert (await row(server, a.match)).verdict == "single"
        assert await two.upload(b, make_export(b)) == "new"
        await _judged(server, a.match)
        found = await row(server, a.match)
        assert (found.verdict, found.players) == ("verified", (0, 1))
        assert names(folder(tmp_path, a.match)) == ["canonical.parquet", "player_0.parquet", "player_1.parquet"]
        assert read_episode(folder(tmp_path, a.match) / "player_0.parquet").own == make_export(a).own
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]


async def test_a_late_upload_that_differs_replaces_the_stored_version_by_both(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await finish(one, two)
        await one.over()
        await two.upload(b, altered(make_export(b), "rewards", 2))
        await _judged(server, a.match)
        assert (await row(server, a.match)).verdict == "diverged"
        place = folder(tmp_path, a.match)
        assert "canonical.parquet" not in names(place)
        assert read_episode(place / "canonical.player_0.parquet").canonical == make_export(a).canonical


async def _judged(server: Running, match: str) -> None:
    """Until a revived match is over again."""
    while server.server.matches.get(match) is not None:  # noqa: ASYNC110 - nobody is told of a late verdict
        await asyncio.sleep(0.01)


async def test_an_upload_that_comes_while_the_match_is_ended_is_judged(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        ending, go_on = asyncio.Event(), asyncio.Event()
        catalogue = server.server.catalogue
        really = catalogue.end_match

        async def held_up(match: str, at: float, reason: str) -> None:
            ending.set()
            await go_on.wait()
            await really(match, at, reason)

        catalogue.end_match = held_up  # type: ignore[method-assign]
        await one.upload(a, make_export(a))
        await finish(one, two)
        await ending.wait()
        assert await two.upload(b, make_export(b)) == "new"
        go_on.set()
        await one.over()
        found = await row(server, a.match)
        assert (found.verdict, found.players) == ("verified", (0, 1))


async def test_an_export_that_cannot_be_stored_does_not_cost_the_partner_its_verdict(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        good = make_export(b)
        unusable = msgspec.structs.replace(good, own=msgspec.structs.replace(good.own, rollbacks=[TOO_LARGE]))
        await one.upload(a, make_export(a))
        # As if it had been taken by a server that did not look for this.
        inbox = FolderStore(tmp_path).upload_path(UploadKey(b.match, 0, 1))
        inbox.write_bytes(encode_export(unusable))
        taken = (await server.server.catalogue.uploads(a.match))[0]
        await server.server.catalogue.add_upload(msgspec.structs.replace(taken, player=1))
        assert server.server.matches.uploaded(a.match, 0, 1)
        verdict = await one.verdict()
        assert verdict.verdict == "single"
        parts = verdict.detail.split("; ")
        assert parts[:2] == ["nothing from player 1", f"player 0 has the complete episode, {FRAMES} frames"]
        assert parts[2].startswith("the upload of player 1 is set aside: ")
        assert names(folder(tmp_path, a.match)) == ["canonical.parquet", "player_0.parquet"]
        assert inbox.exists()
        await finish(one, two)
        assert (await one.over()).reason == "incomplete: of 3 episodes 1 single, 2 not received"


async def test_an_export_that_no_file_takes_is_set_aside_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.open(0)
    players = [start(0), start(1)]
    rows = []
    for who in players:
        body = encode_export(make_export(who))
        place = store.upload_path(UploadKey(who.match, 0, who.player))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(body)
        rows.append(UploadRow(who.match, 0, who.player, b"", b"", len(body), FRAMES, "complete", 0.0))

    def refuse(path: Path, header: Header, canonical: Canonical | None, own: Own | None, extra: object) -> None:
        if own is not None and own.player == 0:
            raise EpisodeFileError(path, "no place for it")
        write_episode(path, header, canonical, own, {})

    monkeypatch.setattr("rollgym.server.record.episode_files.write_episode", refuse)
    match = MatchRow(rows[0].match, "e", "c", "", 5, identity(Drift().spec), PLAY, ("a", "b"), ({}, {}), 0.0)
    found = judge_episode(Job(store, match, tuple(rows), frozenset({"drift"})))
    assert (found.verdict, found.players) == ("single", (1,))
    assert "player 0 is set aside" in found.detail
    assert "no place for it" in found.detail
    assert names(folder(tmp_path, match.id)) == ["canonical.parquet", "player_1.parquet"]
    assert not [*(tmp_path / "tmp").iterdir()]
    store.close()


async def test_the_survivors_prefix_is_kept_when_the_partner_dies(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, _)):
        await two.kill()
        await one.peer_left()
        await one.upload(a, make_export(a, frames=11, status="partner_left"))
        await finish(one)
        verdict = await one.verdict()
        assert verdict.verdict == "single"
        assert verdict.detail == "nothing from player 1; player 0 has a prefix, 11 frames: partner_left"
        stored = read_episode(folder(tmp_path, a.match) / "canonical.parquet")
        assert (stored.header.frames, stored.header.status) == (11, "partner_left")


async def test_uploads_of_one_who_left_are_waited_for(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, upload_grace=600.0)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await finish(one)
        await two.kill()
        assert await two.upload(b, make_export(b)) == "new"  # HTTP needs no control connection
        assert (await one.verdict()).verdict == "verified"
        assert server.server.matches.get(a.match) is not None


async def test_a_whole_match_is_complete(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path, matches=1)) as server, pair(server.url) as ((one, a), (two, b)):
        for episode in range(PLAY.episodes):
            await one.upload(a, make_export(a, episode=episode))
            await two.upload(b, make_export(b, episode=episode))
        assert (await one.over()).reason == (await two.over()).reason == "complete"
        assert server.server.matches.done.is_set()
        seeds = [(await row(server, a.match, episode)).seed for episode in range(PLAY.episodes)]
        assert len(set(seeds)) == PLAY.episodes
        assert await server.server.catalogue.open_matches() == []


async def test_the_audit_survives_the_death_of_its_worker(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        workers = server.server.judges
        (worker,) = await asyncio.gather(workers.run(os.getpid))
        assert worker != os.getpid()
        await one.upload(a, make_export(a))
        os.kill(worker, signal.SIGKILL)
        await two.upload(b, make_export(b))
        assert (await one.verdict()).verdict == "verified"
        assert workers.deaths == 1


# --- the rules by themselves, without sockets -------------------------------------------------------------------


def start(player: int) -> MatchStart:
    return MatchStart("m" + "0" * 24, player, ("a", "b"), 5, PLAY, "secret", ONLY_RELAY, "upload/{episode}")


def exports(*endings: tuple[int, Status]) -> list[Export]:
    return [make_export(start(player), frames=n, status=status) for player, (n, status) in enumerate(endings)]


@pytest.mark.parametrize(
    ("endings", "verdict", "frames"),
    [
        ([(FRAMES, "complete"), (FRAMES, "complete")], "verified", FRAMES),
        ([(10, "partner_left"), (10, "aborted")], "partial", 10),
        ([(10, "partner_left"), (7, "aborted")], "partial", 10),
        ([(0, "partner_silent"), (3, "partner_silent")], "partial", 3),
        ([(FRAMES, "complete"), (30, "partner_silent")], "partial", FRAMES),
        ([(12, "desync"), (12, "desync")], "partial", 12),
        ([(FRAMES, "complete")], "single", FRAMES),
        ([(5, "partner_left")], "single", 5),
    ],
)
def test_verdicts_by_how_the_exports_end(endings: list[tuple[int, Status]], verdict: str, frames: int) -> None:
    found = find(exports(*endings), 2, Drift())
    assert (found.verdict, found.mismatch) == (verdict, None)
    assert found.canonical[0].header.frames == frames


@pytest.mark.parametrize("complete", [0, 1])
def test_of_two_that_are_as_long_the_complete_one_is_stored(complete: int) -> None:
    endings: list[tuple[int, Status]] = [(FRAMES, "partner_silent"), (FRAMES, "partner_silent")]
    endings[complete] = (FRAMES, "complete")
    found = find(exports(*endings), 2, Drift())
    assert (found.verdict, found.canonical[0].header.status) == ("partial", "complete")


@pytest.mark.parametrize("frame", [0, 5, 6])
def test_prefixes_that_differ_diverge_at_the_first_differing_frame(frame: int) -> None:
    one, two = exports((10, "partner_left"), (7, "aborted"))
    found = find([one, altered(two, "rewards", frame)], 2, Drift())
    assert found.verdict == "diverged"
    assert found.mismatch is not None
    assert (found.mismatch.frame, found.mismatch.field) == (frame, "rewards")


def test_an_episode_of_another_game_is_not_played() -> None:
    (one,) = exports((FRAMES, "complete"))
    found = find([one], 2, Drift(max_frames=100))
    assert found.mismatch is not None
    assert found.mismatch.field == "game.parameters.max_frames"


def test_actions_that_are_none_are_found() -> None:
    (one,) = exports((10, "aborted"))
    column = one.canonical.columns["actions/player_0"]
    bad = type(column)(column.dtype, column.shape, b"\x10" + column.data[1:])
    facts = type(one.canonical)({**one.canonical.columns, "actions/player_0": bad}, one.canonical.infos)
    export = Export(one.header, facts, one.own, content_digest(one.header, facts))
    found = find([export], 2, Drift())
    assert found.verdict == "diverged"
    assert found.mismatch is not None
    assert found.mismatch.field == "columns.actions/player_0"
    assert "expected 0..15" in found.mismatch.first


def test_made_up_columns_are_found_before_anything_is_played() -> None:
    (one,) = exports((10, "aborted"))
    columns = dict(one.canonical.columns)
    columns["observations/player_0/extra"] = columns["state_digest"]
    facts = type(one.canonical)(columns, one.canonical.infos)
    found = find([Export(one.header, facts, one.own, content_digest(one.header, facts))], 2, Drift())
    assert found.mismatch is not None
    assert (found.mismatch.frame, found.mismatch.field) == (None, "columns.observations/player_0/extra")
    assert identity(Drift().spec) == one.header.game


async def test_matches_are_judged_side_by_side(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, AsyncExitStack() as stack:
        tables = [await stack.enter_async_context(pair(server.url)) for _ in range(4)]
        await asyncio.gather(*(client.upload(s, make_export(s)) for table in tables for client, s in table))
        for (one, a), _ in tables:
            verdict = await one.verdict()
            assert (verdict.match, verdict.verdict) == (a.match, "verified")
        assert await server.server.catalogue.counts() == {"verified": 4}
