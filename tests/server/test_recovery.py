"""A kill between any two steps, then a new server over the same folder: nothing acknowledged is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.processes.workers import WorkerDiedError, Workers
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.parquet import read_episode
from rollgym.protocol.messages import MatchStart
from rollgym.server.errors import ServerError
from rollgym.server.http.server import Server
from rollgym.server.record.upload_validation import check_upload
from rollgym.server.record.verdicts import GameChangedError, Job, judge_episode
from rollgym.server.settings import GameSettings, ServerSettings
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.server.clients import Client, Running, make_settings, pair, running, until
from tests.server.exports import PLAY, altered, make_export


class KilledError(BaseException):
    """The process ends here."""


Doomed = tuple[Running, Client, MatchStart, Client, MatchStart]


@asynccontextmanager
async def until_killed(
    settings: ServerSettings,
) -> AsyncIterator[tuple[Running, Client, MatchStart, Client, MatchStart]]:
    """A match on a server that is not allowed to finish anything on its way down."""
    async with running(settings) as server:
        server.server.matches.settling._judge = _never  # type: ignore[method-assign,assignment]
        server.server.matches.settling._end = _never  # type: ignore[method-assign,assignment]
        async with pair(server.url) as ((one, a), (two, b)):
            yield server, one, a, two, b


async def _never(*_: Any) -> None:
    return None


async def judged(server: Running, match: str) -> EpisodeRow:
    await until(lambda: server.server.matches.get(match) is None)
    row = await server.server.catalogue.verdict(match, 0)
    assert row is not None
    return row


async def test_acknowledged_uploads_are_judged_after_a_restart(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, two, b):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
    async with running(make_settings(tmp_path)) as server:
        row = await judged(server, a.match)
        assert (row.verdict, row.players) == ("verified", (0, 1))
        assert server.server.orphans == []
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]
        assert await server.server.catalogue.open_matches() == []


async def test_tickets_hold_over_a_restart(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, b):
        await one.upload(a, make_export(a))
    async with running(make_settings(tmp_path, upload_grace=600.0)) as server:
        late = Client(server.url)
        assert await late.upload(a, make_export(a)) == "same"
        assert await late.upload(b, make_export(b)) == "new"
        await late.http.close()
        await until(lambda: server.server.matches.live[0].verdicts != {})
        row = await server.server.catalogue.verdict(a.match, 0)
        assert row is not None
        assert row.verdict == "verified"


async def test_a_match_that_was_interrupted_waits_for_its_uploads_and_ends(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, _):
        await one.upload(a, make_export(a))
    async with running(make_settings(tmp_path)) as server:  # no grace
        assert (await judged(server, a.match)).verdict == "single"


async def test_a_file_without_a_row_is_taken_and_was_not_acknowledged(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (server, one, a, two, b):
        await one.upload(a, make_export(a))

        async def killed(row: UploadRow) -> None:
            raise KilledError

        server.server.catalogue.add_upload = killed  # type: ignore[method-assign]
        with pytest.raises(Exception, match=r"(?i)disconnected|reset"):
            await two.upload(b, make_export(b))
    async with running(make_settings(tmp_path)) as server:
        assert (await judged(server, a.match)).verdict == "verified"
        assert server.server.orphans == []


async def test_finished_files_without_a_verdict_are_written_again(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (server, one, a, two, b):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))

        async def killed(row: EpisodeRow) -> None:
            raise KilledError

        server.server.catalogue.set_verdict = killed  # type: ignore[method-assign]
        match = server.server.matches.get(a.match)
        assert match is not None
        with pytest.raises(KilledError):
            await server.server.matches.settling.judging.judge(match.row, 0)
    folder = tmp_path / "episodes" / a.match / "episode_000000"
    assert (folder / "canonical.parquet").exists()
    (folder / "canonical.parquet").write_bytes(b"half of a fi")
    async with running(make_settings(tmp_path)) as server:
        assert (await judged(server, a.match)).verdict == "verified"
        assert read_episode(folder / "canonical.parquet").canonical == make_export(a).canonical
        assert server.server.orphans == []


async def test_inbox_files_that_have_their_verdict_are_removed(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        server.server.store.discard_uploads = lambda keys: None  # type: ignore[method-assign]
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        await one.verdict()
        assert len([*(tmp_path / "inbox").rglob("*.msgpack")]) == 2
    async with running(make_settings(tmp_path)) as server:
        assert not [*(tmp_path / "inbox").rglob("*.msgpack")]
        assert server.server.orphans == []


async def test_files_of_an_earlier_verdict_are_removed(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        for client in (one, two):
            await client.call("finished", {"episodes": 1})
        await one.over()
        server.server.matches.settling.judging.tidy = lambda *_: None  # type: ignore[method-assign]
        await two.upload(b, altered(make_export(b), "rewards", 2))
        assert (await judged(server, a.match)).verdict == "diverged"
    place = tmp_path / "episodes" / a.match / "episode_000000"
    (place / "notes.txt").write_text("mine")
    assert (place / "canonical.parquet").exists()
    async with running(make_settings(tmp_path)) as server:
        row = await judged(server, a.match)
        assert {path.name for path in place.iterdir()} == {*row.files, "notes.txt"}
        assert "canonical.parquet" not in row.files
        assert server.server.orphans == []


@pytest.mark.parametrize("error", [WorkerDiedError("2 workers died of it"), OSError(5, "Input/output error")])
async def test_a_file_that_cannot_be_looked_at_does_not_keep_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, b):
        await one.upload(a, make_export(a))
    (tmp_path / "inbox" / a.match / "000000.1.msgpack").write_bytes(encode_export(make_export(b)))
    run = Workers.run

    async def fails(self: Workers, work: Any, *args: Any) -> Any:
        if work is check_upload:
            raise error
        return await run(self, work, *args)

    monkeypatch.setattr(Workers, "run", fails)
    async with running(make_settings(tmp_path)) as server:
        (orphan,) = server.server.orphans
        assert (orphan.kind, orphan.place) == ("unusable_upload", f"inbox/{a.match}/000000.1.msgpack")
        assert str(error) in orphan.detail
        assert (await judged(server, a.match)).verdict == "single"


async def test_orphans_are_reported_and_left_where_they_are(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, two, b):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
    inbox = tmp_path / "inbox" / a.match
    (inbox / "000000.1.msgpack").unlink()
    (inbox / "000001.0.msgpack").write_bytes(b"not an export")
    (inbox / "notes.txt").write_text("mine")
    (tmp_path / "inbox" / "backup").mkdir()
    lost = tmp_path / "inbox" / ("m" + "0" * 24)
    lost.mkdir()
    (lost / "000000.0.msgpack").write_bytes(encode_export(make_export(a)))
    stray = tmp_path / "episodes" / ("m" + "1" * 24) / "episode_000003"
    stray.mkdir(parents=True)
    (stray / "canonical.parquet").write_bytes(b"?")
    async with running(make_settings(tmp_path)) as server:
        found = {(orphan.kind, orphan.place) for orphan in server.server.orphans}
        assert found == {
            ("missing_upload", f"inbox/{a.match}/000000.1.msgpack"),
            ("unusable_upload", f"inbox/{a.match}/000001.0.msgpack"),
            ("unusable_upload", f"inbox/{lost.name}/000000.0.msgpack"),
            ("strange_file", f"inbox/{a.match}/notes.txt"),
            ("strange_file", "inbox/backup"),
            ("unjudged_folder", f"episodes/{stray.parent.name}/episode_000003"),
        }
        assert (await judged(server, a.match)).verdict == "single"
        # What was lost can be sent again.
        late = Client(server.url)
        assert await late.upload(b, make_export(b)) == "new"
        await late.http.close()
        assert (await judged(server, a.match)).verdict == "verified"
    for path in (
        inbox / "000001.0.msgpack",
        inbox / "notes.txt",
        lost / "000000.0.msgpack",
        stray / "canonical.parquet",
    ):
        assert path.exists()


async def test_a_damaged_dataset_file_is_reported(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        await one.verdict()
    folder = tmp_path / "episodes" / a.match / "episode_000000"
    (folder / "canonical.parquet").write_bytes(b"PAR1 or so")
    (folder / "player_1.parquet").unlink()
    async with running(make_settings(tmp_path)) as server:
        place = f"episodes/{a.match}/episode_000000"
        assert [(orphan.kind, orphan.place) for orphan in server.server.orphans] == [
            ("missing_episode", f"{place}/canonical.parquet"),
            ("missing_episode", f"{place}/player_1.parquet"),
        ]


async def test_a_match_of_another_experiment_is_judged_in_its_own_game(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, two, b):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
    async with running(make_settings(tmp_path, game=GameSettings(id="pong"))) as server:
        assert (await judged(server, a.match)).verdict == "verified"


def test_a_game_that_has_changed_is_not_judged(tmp_path: Path) -> None:
    changed = msgspec.structs.replace(identity(Drift().spec), version="0")
    match = MatchRow("m" + "0" * 24, "e", "c", "", 5, changed, PLAY, ("a", "b"), ({}, {}), 0.0)
    with pytest.raises(GameChangedError, match=r"game\.version: '0' in the match, '1' here"):
        judge_episode(Job(FolderStore(tmp_path), match, (), frozenset({"drift"})))


def test_a_data_folder_does_not_say_which_code_is_run(tmp_path: Path) -> None:
    foreign = msgspec.structs.replace(identity(Drift().spec), id="rollgym.games.builtin.drift.rules:Drift")
    match = MatchRow("m" + "0" * 24, "e", "c", "", 5, foreign, PLAY, ("a", "b"), ({}, {}), 0.0)
    with pytest.raises(GameChangedError, match="neither built in nor the configured 'pong'"):
        judge_episode(Job(FolderStore(tmp_path), match, (), frozenset({"pong"})))


async def test_a_late_conflicting_upload_is_not_taken_after_a_restart_either(tmp_path: Path) -> None:
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, _):
        await one.upload(a, make_export(a))
    async with running(make_settings(tmp_path)) as server:
        late = Client(server.url)
        status, answer = await late.put(a, encode_export(altered(make_export(a), "rewards", 1)))
        await late.http.close()
        assert (status, answer["error"]["code"]) == (409, "conflict")


# --- the folder itself ------------------------------------------------------------------------------------------


async def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)):
        with pytest.raises(ServerError, match="in use by another server"):
            async with running(make_settings(tmp_path)):
                pass
    async with running(make_settings(tmp_path)):
        pass


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_one_is_said_so(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match="not writable"):
        FolderStore(tmp_path / place).open(0)


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("rollgym.server.storage.folder.write", refuse)
    with pytest.raises(ServerError, match="Read-only file system"):
        FolderStore(tmp_path).open(0)


def test_too_little_space_is_said_before_play_begins(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="bytes free, expected at least"):
        FolderStore(tmp_path).open(1 << 62)


def test_left_over_temporary_files_are_removed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.open(0)
    store.new_temporary().write_bytes(b"half")
    store.close()
    store.open(0)
    assert [*(tmp_path / "tmp").iterdir()] == []
    store.close()


def test_a_catalogue_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    SqliteCatalogue(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ServerError, match="version 99"):
        SqliteCatalogue(path)
    (tmp_path / "other").write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(ServerError, match="not a database"):
        SqliteCatalogue(tmp_path / "other")


async def test_an_unusable_game_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", game=GameSettings(id="no_such_module_anywhere:make"))
    with pytest.raises(ServerError, match="no_such_module_anywhere"):
        await Server(settings).start()
    assert not (tmp_path / "data").exists()
