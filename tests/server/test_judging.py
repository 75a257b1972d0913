"""Judging ends: in a verdict, or in a reason that is kept, shown and told. In whichever way a game fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.processes.workers import OutOfMemoryError, OverdueError, WorkerDiedError, Workers, WorkFailedError
from rollgym.protocol.messages import MatchStart
from rollgym.server.http.app import SERVER
from rollgym.server.record import judging
from rollgym.server.record.judging import KINDS, deadline, kind_of
from rollgym.server.record.verdicts import GameChangedError, GameFailedError, Job, UnusableError, judge_episode
from rollgym.server.settings import ServerSettings
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UnjudgedRow
from tests.server import work
from tests.server.clients import WAIT, Client, Running, make_settings, pair, running
from tests.server.exports import FRAMES, PLAY, make_export


async def end(*clients: Client) -> None:
    for client in clients:
        await client.call("finished", {"episodes": 1})


async def status(server: Running) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(server.url + "/status") as answer:
        found: dict[str, Any] = await answer.json()
        return found


@asynccontextmanager
async def uploaded(settings: ServerSettings) -> AsyncIterator[tuple[Running, Client, MatchStart, Client, MatchStart]]:
    """A match whose first episode both have sent."""
    async with running(settings) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        yield server, one, a, two, b


async def test_an_episode_that_hangs_the_judge_is_given_up_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The match of the stuck episode ends with the reason; uploads and other matches go on meanwhile."""
    stuck = asyncio.Event()
    run_within = Workers.run_within
    hung: list[str] = []

    async def hang_first(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        if fn is judge_episode and (not hung or args[0].match.id in hung):
            hung.append(args[0].match.id)
            stuck.set()
            return await run_within(self, 1.0, work.hang, str(tmp_path / "pid"))
        return await run_within(self, seconds, fn, *args)

    monkeypatch.setattr(Workers, "run_within", hang_first)
    async with uploaded(make_settings(tmp_path / "data")) as (server, one, a, two, b):
        await two.upload(b, make_export(b))
        await stuck.wait()
        async with pair(server.url) as ((three, c), (four, d)):
            assert await three.upload(c, make_export(c)) == "new"
            assert await four.upload(d, make_export(d)) == "new"
            assert (await three.verdict()).verdict == "verified"
        await end(one, two)
        reason = "took longer than 1 seconds, and was ended"
        assert (await one.over()).reason == f"incomplete: episode 0 was not judged: {reason}"
        assert hung == [a.match]  # and not tried again: it would hang again
        (row,) = (await status(server))["unjudged"]
        assert row == {"match": a.match, "episode": 0, "kind": "overdue", "reason": reason}
    monkeypatch.undo()
    async with running(make_settings(tmp_path / "data")) as server:  # the next start tries again
        async with asyncio.timeout(WAIT):
            while server.server.matches.get(a.match) is not None:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.01)
        found = await server.server.catalogue.verdict(a.match, 0)
        assert found is not None
        assert found.verdict == "verified"
        assert (await status(server))["unjudged"] == []


async def test_uploads_are_taken_while_the_judge_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it does: the deadline has nothing to do with it."""
    run_within = Workers.run_within
    stuck = asyncio.Event()

    async def hang(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        stuck.set()
        return await run_within(self, 3600.0, work.hang, str(tmp_path / "pid"))

    monkeypatch.setattr(Workers, "run_within", hang)
    async with uploaded(make_settings(tmp_path / "data")) as (server, _, a, two, b):
        await two.upload(b, make_export(b))
        await stuck.wait()
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        async with pair(server.url) as ((three, c), (four, d)):
            assert await three.upload(c, make_export(c)) == "new"
            assert await four.upload(d, make_export(d)) == "new"
        assert server.server.matches.get(a.match) is not None


@pytest.mark.parametrize(
    ("error", "kind", "tries"),
    [
        (GameChangedError("game.version: '1' in the match, '2' here"), "game_changed", 1),
        (GameFailedError("game 'x' raised ValueError while the episode was played again: no"), "game_failed", 1),
        (WorkFailedError("SystemExit: 3"), "game_failed", 1),
        (OverdueError("took longer than 60 seconds, and was ended"), "overdue", 1),
        (OutOfMemoryError("ran out of the 4 GiB that server.worker_memory allows"), "memory", 1),
        (WorkerDiedError("judge_episode: 2 workers died of it"), "worker_died", 1),
        (UnusableError(0, "not an export"), "unusable", 1),
        (KeyError("a mistake of ours"), "internal", 1),
        (OSError(5, "Input/output error"), "refused", 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_whatever_keeps_an_episode_from_its_verdict_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, tries: int
) -> None:
    tried = []

    async def fail(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        tried.append(fn)
        raise error

    monkeypatch.setattr(Workers, "run_within", fail)
    monkeypatch.setattr("rollgym.server.storage.persistence.PAUSES", (0.0, 0.0))
    assert kind_of(error) == kind
    async with uploaded(make_settings(tmp_path)) as (server, one, a, two, b):
        await two.upload(b, make_export(b))
        await end(one, two)
        for client in (one, two):
            assert (await client.over()).reason.startswith(f"incomplete: episode 0 was not judged: {error}"[:1000])
        assert len(tried) == tries
        assert await server.server.catalogue.unjudged() == [
            UnjudgedRow(a.match, 0, kind, str(error), (0, 1), (await server.server.catalogue.unjudged())[0].at)
        ]
        assert await server.server.catalogue.open_matches() == []
        assert len([*(tmp_path / "inbox").rglob("*.msgpack")]) == 2


def test_every_kind_is_described() -> None:
    assert judging.__doc__ is not None
    assert [line.split()[0] for line in judging.__doc__.splitlines() if line[:1].islower()][-len(KINDS) :] == list(
        KINDS
    )


def test_the_deadline_grows_with_the_episode() -> None:
    play = msgspec.structs.replace(PLAY, fps=30.0)
    assert deadline(60.0, 0, play) == 60.0
    assert deadline(60.0, 36_000, play) == 60.0 + 2 * 36_000 / 30


class Raising(Drift):
    """Drift that raises in the middle of an episode."""

    steps = 0

    def step(self, inputs: Any) -> Any:
        self.steps += 1
        if self.steps > 5:
            raise RuntimeError("the physics exploded")
        return super().step(inputs)


@pytest.mark.parametrize("step", ["make", "play"])
async def test_a_game_that_raises_on_the_server_is_named_with_what_it_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def made(*_: Any, **__: Any) -> Any:
        if step == "make":
            raise FileNotFoundError(2, "No such file", "level.txt")
        return Raising()

    async with uploaded(make_settings(tmp_path)) as (server, one, a, two, b):
        row = await server.server.catalogue.match(a.match)
        assert isinstance(row, MatchRow)
        uploads = tuple(await server.server.catalogue.uploads(a.match))
        monkeypatch.setattr("rollgym.server.record.verdicts.make", made)
        words = "cannot be made here: FileNotFoundError" if step == "make" else "raised RuntimeError .*exploded"
        with pytest.raises(GameFailedError, match=words):
            judge_episode(Job(FolderStore(tmp_path), row, uploads, frozenset({"drift"})))
        monkeypatch.undo()
        found = judge_episode(Job(FolderStore(tmp_path), row, uploads, frozenset({"drift"})))
        assert isinstance(found, EpisodeRow)
        assert (found.verdict, found.frames) == ("single", FRAMES)
        await end(one, two)
        assert b.player == 1


async def test_health_and_readiness_know_the_folder_the_catalogue_and_the_workers(tmp_path: Path) -> None:
    async def ask(path: str) -> tuple[int, dict[str, str]]:
        async with http.get(server.url + path) as answer:
            return answer.status, (await answer.json()).get("troubles", {})

    async with running(make_settings(tmp_path / "data")) as server, aiohttp.ClientSession() as http:
        parts = server.app[SERVER]
        assert await ask("/health") == (200, {})
        assert await ask("/ready") == (200, {})
        parts.workers._trouble = "no worker can be started"
        assert await ask("/health") == await ask("/ready") == (503, {"checks": "no worker can be started"})
        parts.workers._trouble = None
        (tmp_path / "data").rename(tmp_path / "moved")
        assert await ask("/health") == (200, {})
        code, found = await ask("/ready")
        assert code == 503
        assert "No such file" in found["data"]
        (tmp_path / "data").mkdir()
        code, found = await ask("/ready")
        assert "is not the folder that this server opened" in found["data"]
        (tmp_path / "data").rmdir()
        (tmp_path / "moved").rename(tmp_path / "data")
        assert await ask("/ready") == (200, {})
        parts.catalogue.close()
        code, found = await ask("/ready")
        assert (code, found["catalogue"]) == (503, "its thread has ended: restart the server")
        code, found = await ask("/health")
        assert code == 503
        assert (await status(server))["catalogue"] == "closed"
