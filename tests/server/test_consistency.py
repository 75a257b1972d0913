"""The inspection of a data folder finds each kind of damage, and says nothing of a good one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.parquet import read_episode, write_episode
from rollgym.protocol.messages import MatchStart
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.rows import EpisodeRow, UploadRow
from rollgym.server.upkeep.consistency import _problems, inspect
from tests.server.clients import make_settings, pair, running, until
from tests.server.exports import altered, make_export


async def played(data: Path) -> tuple[MatchStart, MatchStart]:
    """A folder with a verified, a diverged and a single episode, and an upload after the verdict."""
    async with running(make_settings(data)) as server, pair(server.url) as ((one, a), (two, b)):
        for client, start in ((one, a), (two, b)):
            await client.upload(start, make_export(start))
        await one.upload(a, make_export(a, episode=1))
        await two.upload(b, altered(make_export(b, episode=1), "rewards", 7))
        await one.upload(a, make_export(a, episode=2, frames=11, status="partner_left"))
        for client in (one, two):
            await client.call("finished", {"episodes": 2})
        await one.over()
        await two.upload(b, make_export(b, episode=2, frames=20, status="aborted"))
        await until(lambda: server.server.matches.live == [])
    return a, b


async def test_a_good_folder_has_no_problems(tmp_path: Path) -> None:
    a, _ = await played(tmp_path)
    content = await inspect(tmp_path)
    assert content.problems == []
    assert [row.id for row in content.matches] == [a.match]
    assert [(row.episode, row.verdict) for row in content.episodes] == [
        (0, "verified"),
        (1, "diverged"),
        (2, "partial"),
    ]
    assert len(content.uploads) == 6


def _change_value(path: Path) -> None:
    """One reward of one frame, in a file that is otherwise as it was."""
    stored = read_episode(path)
    assert stored.canonical is not None
    values = stored.canonical.columns["rewards"].array().copy()
    values[5, 0] += 1
    columns = {**stored.canonical.columns, "rewards": Column.of(values)}
    write_episode(path, stored.header, Canonical(columns, stored.canonical.infos), None, stored.extra)


def _sql(text: str) -> Callable[[Path, str], None]:
    def run(data: Path, match: str) -> None:
        with sqlite3.connect(data / "catalogue.sqlite") as db:
            db.execute(text)
        db.close()

    return run


def _upload(data: Path, match: str, episode: int, player: int) -> Path:
    return FolderStore(data).upload_path(UploadKey(match, episode, player))


def _folder(data: Path, match: str, episode: int = 0) -> Path:
    return data / "episodes" / match / f"episode_{episode:06d}"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d, m: (_folder(d, m) / "player_1.parquet").unlink(), "not to be had any more"),
        (lambda d, m: _change_value(_folder(d, m) / "canonical.parquet"), "another content"),
        (lambda d, m: (_folder(d, m) / "canonical.parquet").write_bytes(b""), "canonical.parquet"),
        (
            lambda d, m: (_folder(d, m) / "player_0.parquet").write_bytes(
                (_folder(d, m, 2) / "player_0.parquet").read_bytes()
            ),
            "not the",
        ),
        (
            lambda d, m: (_folder(d, m, 2) / "canonical.parquet").write_bytes(
                (_folder(d, m) / "canonical.parquet").read_bytes()
            ),
            "the catalogue partial",
        ),
        (_sql("UPDATE upload SET body_hash = x'00' WHERE episode = 1 AND player = 1"), "which were acknowledged"),
        (_sql("UPDATE episode SET digest = x'00' WHERE episode = 0"), "another content"),
        (_sql("UPDATE episode SET verdict = 'verified' WHERE episode = 1"), "says diverged"),
        (_sql("UPDATE episode SET seed = 1 WHERE episode = 1"), "another episode"),
        (lambda d, m: (d / "inbox" / "notes.txt").write_text("?"), "no upload has such a name"),
        (lambda d, m: _upload(d, m, 1, 0).write_bytes(b"half"), "inbox"),
        (
            lambda d, m: (
                (FolderStore(d).upload_path(UploadKey(m, 0, 1))).with_name("000007.0.msgpack").write_bytes(b"half")
            ),
            "half an upload",
        ),
    ],
)
async def test_damage_is_found(tmp_path: Path, damage: Callable[[Path, str], None], words: str) -> None:
    a, _ = await played(tmp_path)
    damage(tmp_path, a.match)
    problems = [problem for problem in (await inspect(tmp_path)).problems if not problem.mended]
    assert problems
    assert any(words in f"{problem.place} {problem.detail}" for problem in problems), problems


@pytest.mark.parametrize(
    ("leftover", "words"),
    [
        (lambda d, a: (d / "tmp" / "x.part").write_bytes(b"half"), "being written"),
        (
            lambda d, a: (
                _upload(d, a.match, 1, 0).with_name("000009.0.msgpack").write_bytes(encode_export(make_export(a)))
            ),
            "never acknowledged",
        ),
        (
            lambda d, a: _upload(d, a.match, 0, 0).write_bytes(encode_export(make_export(a))),
            "still in the inbox",
        ),
        (
            lambda d, a: (_folder(d, a.match) / "canonical.player_0.parquet").write_bytes(
                (_folder(d, a.match) / "canonical.parquet").read_bytes()
            ),
            "does not name it",
        ),
        (lambda d, a: _sql("UPDATE match SET ended = NULL")(d, a.match), "never ended"),
        (lambda d, a: _sql("DELETE FROM episode WHERE episode = 0")(d, a.match), "without a verdict"),
    ],
)
async def test_what_a_kill_leaves_is_told_from_damage(
    tmp_path: Path, leftover: Callable[[Path, MatchStart], None], words: str
) -> None:
    a, _ = await played(tmp_path)
    leftover(tmp_path, a)
    problems = (await inspect(tmp_path)).problems
    assert any(words in problem.detail for problem in problems)
    assert [problem for problem in problems if not problem.mended] == []


def test_every_upload_is_looked_at_once_however_many_episodes_there_are(tmp_path: Path) -> None:
    class Counted(list[UploadRow]):
        looks = 0

        def __iter__(self) -> Iterator[UploadRow]:
            Counted.looks += 1
            return super().__iter__()

    match = "m" + "0" * 24
    uploads = Counted(UploadRow(match, n, 0, b"", b"", 0, 0, "complete", 0.0) for n in range(50))
    episodes = [EpisodeRow(match, n, "single", "", (0,), 0, "complete", 0, b"", None, (), 0.0) for n in range(50)]
    _problems(FolderStore(tmp_path), {}, uploads, episodes)
    assert 0 < Counted.looks <= 3
