"""What is not in the dataset is counted: in ``verify``, in ``export``, and whatever became of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app
from rollgym.processes.workers import Workers
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import ANNULLED
from rollgym.server.record.verdicts import GameFailedError, judge_episode
from rollgym.server.upkeep.selection import Selection, selection
from tests.server.clients import Client, make_settings, pair, running, until
from tests.server.exports import FRAMES, altered, make_export


async def play(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A match of every fate."""
    run_within = Workers.run_within
    unlucky: list[str] = []

    async def run(self: Workers, seconds: float, fn: Any, *args: Any) -> Any:
        if fn is judge_episode and args[0].match.id in unlucky:
            raise GameFailedError("it raised")
        return await run_within(self, seconds, fn, *args)

    monkeypatch.setattr(Workers, "run_within", run)
    async with running(make_settings(data)) as server:
        for fate in ("verified", "complete", "prefix", "unjudged", "vanish", "refused", "refused then taken"):
            async with pair(server.url) as ((one, a), (two, b)):
                match fate:
                    case "verified" | "unjudged":
                        unlucky += [a.match] if fate == "unjudged" else []
                        await one.upload(a, make_export(a))
                        await two.upload(b, make_export(b))
                        if fate == "verified":
                            await one.put(a, encode_export(altered(make_export(a), "rewards", 1)))
                    case "complete":
                        await one.upload(a, make_export(a))
                    case "prefix":
                        await one.upload(a, make_export(a, frames=7, status="partner_left"))
                    case "refused":
                        await one.put(a, b"not an export")
                        await one.put(a, b"neither", Content_Encoding="br")
                    case "refused then taken":
                        await one.put(a, b"not an export")
                        await one.upload(a, make_export(a))
                        await two.upload(b, make_export(b))
                if fate != "vanish":
                    for client in (one, two):
                        await client.call("finished", {"episodes": 1})
                    await one.over()
            await until(lambda: not server.server.matches.live)
        async with Client(server.url) as one:
            async with Client(server.url) as two:
                await one.join()
                await two.join()
                await one.start()
                await two.kill()
            assert (await one.over()).reason == ANNULLED


async def invoke(*arguments: str) -> str:
    outcome = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


async def test_every_fate_of_a_match_is_counted_by_verify_and_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    await play(data, monkeypatch)
    monkeypatch.undo()
    expected = Selection(
        matches=7,
        annulled=1,
        running=0,
        without_upload=2,
        single_complete=1,
        single_prefix=1,
        unjudged={"game_failed": 1},
        refused={"bad_encoding": 1},
        conflicts=1,
    )
    assert selection(data) == expected
    lines = [
        "the catalogue has 7 matches, 1 annulled before play, 2 without any upload",
        "single: 1 complete, 1 prefix",
        "without a verdict: 1 game_failed",
        "uploads refused and not taken since: 1 bad_encoding",
        "uploads sent in two versions: 1",
    ]
    verified = await invoke("verify", str(data), "--jobs", "1")
    assert verified.splitlines()[-5:] == lines
    counted = json.loads(await invoke("verify", str(data), "--jobs", "1", "--json"))["catalogue"]
    assert counted["refused"] == {"bad_encoding": 1}
    exported = await invoke("export", str(data), "--format", "parquet", "--out", str(tmp_path / "out"))
    assert exported.splitlines()[-5:] == lines
    singles = {episode.header.status: episode.frames for episode in rollgym.load(data, verdict="single")}
    assert singles == {"complete": FRAMES, "partner_left": 7}
    assert [e.frames for e in rollgym.load(data, verdict="single", status="complete")] == [FRAMES]
    with pytest.raises(ValueError, match="status 'whole'"):
        rollgym.load(data, status="whole")
    as_json = await invoke("export", str(data), "--format", "csv", "--out", str(tmp_path / "csv"), "--json")
    assert json.loads(as_json)["catalogue"] == counted


async def test_a_folder_without_a_catalogue_is_no_data_folder_and_a_damaged_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selection(tmp_path) is None
    async with running(make_settings(tmp_path / "d")) as server, pair(server.url) as ((one, a), (two, b)):
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        await one.verdict()
        during = selection(tmp_path / "d")  # while a server writes
        assert during is not None
        assert (during.matches, during.running) == (1, 1)
    (tmp_path / "d" / "catalogue.sqlite").write_bytes(b"no catalogue at all " * 1000)
    said = await invoke("verify", str(tmp_path / "d"), "--jobs", "1")
    assert f"rollgym catalogue rebuild {tmp_path / 'd'}" in said
