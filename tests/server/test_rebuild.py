"""A catalogue that is lost or damaged is made anew from the files, and a server goes on with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from rollgym.cli import app
from rollgym.protocol.episode.export_body import encode_export
from rollgym.server.errors import ServerError
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.record import catalogue_copy
from rollgym.server.storage.rows import NO_LABEL, EpisodeRow, MatchRow, UploadRow
from rollgym.server.upkeep.consistency import inspect
from rollgym.server.upkeep.rebuild import rebuild
from tests.server.clients import make_settings, pair, running
from tests.server.exports import altered, make_export
from tests.server.test_recovery import judged, until_killed

Rows = tuple[list[MatchRow], list[UploadRow], list[EpisodeRow]]


def rows(data: Path) -> Rows:
    with catalogue_copy(data / "catalogue.sqlite") as copy:
        return copy.matches(), copy.uploads(), copy.episodes()


def plain(match: MatchRow) -> MatchRow:
    """Without what no file says."""
    return msgspec.structs.replace(match, ended=None, reason=None, owner=None)


async def played(data: Path) -> dict[str, str]:
    """A folder with a match of each verdict, and one that nobody judged. Match ids by verdict."""
    found = {}
    async with running(make_settings(data)) as server:
        for kind in ("verified", "single", "diverged", "partial"):
            async with pair(server.url) as ((one, a), (two, b)):
                if kind == "partial":
                    await one.upload(a, make_export(a, frames=11, status="partner_left"))
                    await two.upload(b, make_export(b, frames=7, status="aborted"))
                else:
                    await one.upload(a, make_export(a))
                    if kind != "single":
                        other = make_export(b)
                        await two.upload(b, altered(other, "rewards", 1) if kind == "diverged" else other)
                for client in (one, two):
                    await client.call("finished", {"episodes": 1})
                await one.over()
                found[kind] = a.match
    async with until_killed(make_settings(data)) as (_, one, a, two, b):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
    found["unjudged"] = a.match
    return found


@pytest.mark.parametrize("harm", ["deleted", "damaged", "emptied", "none"])
async def test_all_rows_come_back_that_files_tell_of_and_a_server_goes_on(tmp_path: Path, harm: str) -> None:
    kinds = await played(tmp_path)
    before = rows(tmp_path)
    assert {row.verdict for row in before[2]} == {"verified", "single", "diverged", "partial"}
    place = tmp_path / "catalogue.sqlite"
    for suffix in ("-wal", "-shm"):
        assert not place.with_name(place.name + suffix).exists()
    if harm == "deleted":
        place.unlink()
    elif harm == "damaged":
        place.write_bytes(place.read_bytes()[:4096] + os.urandom(20_000))
    elif harm == "emptied":
        place.write_bytes(b"")
    if harm != "none":
        with pytest.raises(ServerError, match=f"rollgym catalogue rebuild {tmp_path}"):
            async with running(make_settings(tmp_path)):
                pass
    result = await rebuild(tmp_path)
    assert (result.matches, result.uploads, result.episodes) == (len(before[0]), len(before[1]), len(before[2]))
    assert (result.unlabelled, result.skipped) == (1, [])
    assert (result.before is None) == (harm == "deleted")
    after = rows(tmp_path)
    unjudged = {row.id for row in before[0]} - {row.match for row in before[2]}
    assert unjudged == {kinds["unjudged"]}
    assert sorted((plain(row) for row in before[0] if row.id not in unjudged), key=lambda row: row.id) == sorted(
        (row for row in after[0] if row.id not in unjudged), key=lambda row: row.id
    )
    (unlabelled,) = [row for row in after[0] if row.id in unjudged]
    assert (unlabelled.experiment, unlabelled.condition) == (NO_LABEL, NO_LABEL)
    received = [msgspec.structs.replace(row, received=0.0) if row.match in unjudged else row for row in before[1]]
    assert received == [
        msgspec.structs.replace(row, received=0.0) if row.match in unjudged else row for row in after[1]
    ]
    assert after[2] == before[2]
    assert [problem for problem in (await inspect(tmp_path)).problems if not problem.mended] == []
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, a), (two, b)):
        assert server.server.orphans == []
        assert (await judged(server, kinds["unjudged"])).verdict == "verified"
        seeds = [row.seed for row in before[0]]
        assert a.seed not in seeds  # the numbers are known again
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        assert (await one.verdict()).verdict == "verified"


async def test_what_an_earlier_verdict_left_is_passed_over_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    kinds = await played(tmp_path)
    before = rows(tmp_path)
    folder = tmp_path / "episodes" / kinds["diverged"] / "episode_000000"
    stale = tmp_path / "episodes" / kinds["verified"] / "episode_000000" / "canonical.parquet"
    shutil.copy(stale, folder / "canonical.parquet")  # judged earlier than the others
    (tmp_path / "episodes" / kinds["single"] / "episode_000000" / "canonical.parquet").write_bytes(b"half")
    inbox = tmp_path / "inbox" / kinds["unjudged"]
    (inbox / "000001.0.msgpack").write_bytes(b"not an export")
    stored = (inbox / "000000.0.msgpack").read_bytes()
    (inbox / "000002.1.msgpack").write_bytes(stored)
    (tmp_path / "catalogue.sqlite").unlink()
    outcome = await asyncio.to_thread(CliRunner().invoke, app, ["catalogue", "rebuild", str(tmp_path)])
    assert outcome.exit_code == 1, outcome.output
    for place in (f"episodes/{kinds['single']}/episode_000000", "000001.0.msgpack", "000002.1.msgpack"):
        assert f"{place}: " in outcome.output
    assert "players' tickets" in outcome.output
    after = rows(tmp_path)
    assert after[2] == [row for row in before[2] if row.match != kinds["single"]]


async def test_a_folder_in_use_is_not_rebuilt_and_one_that_is_none_is_said_so(tmp_path: Path) -> None:
    async with running(make_settings(tmp_path)):
        with pytest.raises(ServerError, match="in use by another server"):
            await rebuild(tmp_path)
        outcome = await asyncio.to_thread(CliRunner().invoke, app, ["catalogue", "rebuild", str(tmp_path)])
        assert outcome.exit_code == 2
        (tmp_path / ".lock").unlink()  # whatever is done to that file
        with pytest.raises(ServerError, match="in use by another server"):
            FolderStore(tmp_path).open(0)
    nothing = await asyncio.to_thread(CliRunner().invoke, app, ["catalogue", "rebuild", str(tmp_path / "none")])
    assert nothing.exit_code == 2
    assert not (tmp_path / "none").exists()


async def test_a_rebuilt_catalogue_does_not_let_in_what_is_not_known(tmp_path: Path) -> None:
    """A ticket of before the rebuild opens nothing: no file has it."""
    async with until_killed(make_settings(tmp_path)) as (_, one, a, _, b):
        await one.upload(a, make_export(a))
    await rebuild(tmp_path)
    async with running(make_settings(tmp_path)) as server, pair(server.url) as ((one, _), _):
        status, answer = await one.put(b, encode_export(make_export(b)))
        assert (status, answer["error"]["code"]) == (401, "bad_ticket")
    with closing(sqlite3.connect(tmp_path / "catalogue.sqlite")) as db:
        assert db.execute("SELECT count(DISTINCT ticket_hash) FROM player").fetchone() == (4,)
