"""rollgym.episodes: one table of all episodes, from a catalogue and from files, that says what rollgym.load says."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

import rollgym
from rollgym.dataset.load import Episode
from rollgym.server.errors import ServerError
from rollgym.server.storage.rows import MatchRow, UnjudgedRow, UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.rollgym.random_datasets import EpisodePlan, datasets, write
from tests.rollgym.stored import MATCH, OTHER, Judged, altered, catalogue, changed, judged, play

Rows = list[dict[str, Any]]

NOT_IN_FILES = ("match_ended",)


def listed(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns, row by row."""
    return [*zip(*(table[name].to_pylist() for name in columns), strict=True)]


def catalogued(root: Path, found: list[Judged]) -> Path:
    """The folder with its catalogue."""

    async def add() -> None:
        place = await catalogue(root, found)
        await asyncio.to_thread(place.close)

    asyncio.run(add())
    return root


def build(root: Path) -> list[Judged]:
    """An episode of each verdict and one of another match."""
    first, second, third, fourth = play(episodes=4, frames=60)
    (other,) = play(match=OTHER, seed=4, frames=40)
    return [
        judged(root, first),
        judged(root, [changed(export, status="aborted") for export in second]),
        judged(root, [third[0], altered(third[1], "rewards", (50, 1), 0.5)]),
        judged(root, fourth[1:]),
        judged(root, other, "rtt_0"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a catalogue; tests must not change it."""
    root = tmp_path_factory.mktemp("episodes")
    return catalogued(root, build(root))


# --- what load says ---------------------------------------------------------------------------------------------


def expected(root: Path) -> Iterator[dict[str, Any]]:
    """The rows that the episodes themselves give, but for players of whom there is nothing."""
    for episode in rollgym.load(root):
        for player in episode.own_parts:
            yield _expected(root, episode, player)


def _expected(root: Path, episode: Episode, player: int) -> dict[str, Any]:
    own, header = episode.own_parts[player], episode.header
    agent = header.game.players[player]
    frames = len(own.columns["rtt"].array())
    times = own.columns["rtt"].array()
    known = times[~np.isnan(times)]
    seconds = own.ended_at - own.started_at
    stalls = own.stats.get("stalls")
    facts = episode.provenance
    return {
        "match": episode.match,
        "episode": episode.number,
        "player": player,
        "agent": agent,
        "participant": header.participants[player],
        "policy": facts["bots"][str(player)],
        "experiment": facts["experiment"],
        "condition": facts["condition"],
        "match_number": facts["match_number"],
        "game": header.game.id,
        "game_version": header.game.version,
        "input_delay": header.settings.input_delay,
        "verdict": episode.verdict,
        "detail": facts["verdict_detail"],
        "status": header.status,
        "frames": episode.frames,
        "seed": header.seed,
        "return": number(episode.rewards[agent].sum()),
        "own_status": facts["statuses"][str(player)],
        "own_frames": frames,
        "rollbacks": len(own.rollbacks),
        "mispredicted": share(own.columns["mispredicted"].array()),
        "speculative": share(own.columns["was_speculative"].array()),
        "stalls": stalls if isinstance(stalls, int) else None,
        "rtt_ms": float(np.median(known)) * 1000 if known.size else None,
        "fps": frames / seconds if seconds > 0 else None,
        "began": own.started_at,
        "ended": own.ended_at,
        "match_created": facts["match_created"],
        "received": facts["received"][str(player)],
        "judged": facts["judged"],
        "facts_file": str(episode.path.relative_to(root)),
        "own_file": f"episodes/{episode.match}/episode_{episode.number:06d}/player_{player}.parquet",
    }


def number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def share(flags: Any) -> float | None:
    return float(np.count_nonzero(flags)) / len(flags) if len(flags) else None


def said(root: Path) -> tuple[Rows, Rows]:
    """The table's rows: of players of whom there is something, and of the others."""
    rows = rollgym.episodes(root).to_pylist()
    return [row for row in rows if row["own_file"]], [row for row in rows if not row["own_file"]]


def agree(root: Path, plans: list[EpisodePlan]) -> None:
    """The table says what the episodes say, no less and no more."""
    rows, others = said(root)
    wanted = [*expected(root)]
    assert set(rows[0]) == {*wanted[0], *NOT_IN_FILES}
    assert [{name: row[name] for name in wanted[0]} for row in rows] == wanted
    missing = {(f"m{p.match:024x}", p.episode, player) for p in plans for player in {0, 1} - set(p.players)}
    assert {(row["match"], row["episode"], row["player"]) for row in others} == missing
    assert len(others) == len(missing)
    for row in others:
        assert all(row[name] is None for name in ("return", "rollbacks", "rtt_ms", "own_frames", "received", "began"))


@given(datasets())
def test_the_table_says_what_load_says_from_the_catalogue_and_from_the_files(plans: list[EpisodePlan]) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        catalogued(root, write(root, plans))
        agree(root, plans)
        kept = rollgym.episodes(root).drop_columns(NOT_IN_FILES)
        (root / "catalogue.sqlite").unlink()
        agree(root, plans)
        assert rollgym.episodes(root).drop_columns(NOT_IN_FILES).equals(kept)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE episode_player SET rollbacks = rollbacks + 1",
        "UPDATE episode_player SET reward = reward + 1e-9",
        "UPDATE upload SET frames = frames + 1 WHERE player = 1",
        "UPDATE episode SET status = 'desync' WHERE episode = 0",
        "DELETE FROM episode WHERE episode = 1",
    ],
)
def test_a_catalogue_that_says_something_else_is_seen(tmp_path: Path, change: str) -> None:
    catalogued(tmp_path, build(tmp_path))
    agreed = [*expected(tmp_path)]
    rows, _ = said(tmp_path)
    assert [{name: row[name] for name in agreed[0]} for row in rows] == agreed
    with closing(sqlite3.connect(tmp_path / "catalogue.sqlite")) as db:
        db.executescript(change)
    rows, _ = said(tmp_path)
    assert [{name: row[name] for name in agreed[0]} for row in rows] != agreed


# --- what is in no file -----------------------------------------------------------------------------------------


async def _with_what_has_no_file(root: Path, found: list[Judged]) -> None:
    place = await catalogue(root, found)
    base = found[0][1]

    def another(number: int) -> MatchRow:
        return msgspec.structs.replace(base, id=f"m{number:024x}", number=number)

    for index in range(4):
        await place.add_match(another(index), (bytes([index, 0]), bytes([index, 1])))
    await place.add_upload(UploadRow(another(0).id, 0, 1, b"", b"", 9, 40, "complete", 5.0))
    await place.set_unjudged(UnjudgedRow(another(0).id, 0, "overdue", "took too long", (1,), 6.0))
    await place.add_upload(UploadRow(another(0).id, 1, 0, b"", b"", 9, 30, "desync", 7.0))
    await place.annul_match(another(1).id, 8.0, "player 1 was lost")
    await place.end_match(another(2).id, 9.0, "nobody came back")
    await asyncio.to_thread(place.close)  # another(3) is being played


def test_what_has_no_verdict_is_there_with_the_reason(tmp_path: Path) -> None:
    asyncio.run(_with_what_has_no_file(tmp_path, build(tmp_path)))
    table = rollgym.episodes(tmp_path, verdict=["unjudged", "annulled", "missing"])
    columns = ("match", "episode", "player", "verdict", "detail", "status", "own_status", "own_frames", "match_ended")
    assert [(int(row[0][1:], 16), *row[1:]) for row in listed(table, *columns)] == [
        (0, 0, 0, "unjudged", "overdue: took too long", None, None, None, None),
        (0, 0, 1, "unjudged", "overdue: took too long", None, "complete", 40, None),
        (0, 1, 0, "unjudged", None, None, "desync", 30, None),
        (0, 1, 1, "unjudged", None, None, None, None, None),
        (1, None, 0, "annulled", "player 1 was lost", None, None, None, 8.0),
        (1, None, 1, "annulled", "player 1 was lost", None, None, None, 8.0),
        (2, None, 0, "missing", "nobody came back", None, None, None, 9.0),
        (2, None, 1, "missing", "nobody came back", None, None, None, 9.0),
    ]
    assert set(table["facts_file"].to_pylist()) == set(table["own_file"].to_pylist()) == {None}
    assert rollgym.episodes(tmp_path).num_rows == 8 + 2 * 5


def test_an_upload_that_came_after_the_verdict_waits_for_the_next(tmp_path: Path) -> None:
    row, match, uploads = judged(tmp_path, play(frames=30)[0][:1])
    late = UploadRow(match.id, 0, 1, b"", b"", 9, 25, "complete", 5.0)
    catalogued(tmp_path, [(row, match, (*uploads, late))])
    found = rollgym.episodes(tmp_path)
    assert listed(found, "verdict", "own_frames", "own_file")[1] == ("single", 25, None)
    assert found["return"].to_pylist()[1] is None


# --- filters ----------------------------------------------------------------------------------------------------


def test_filters_are_those_of_load(folder: Path) -> None:
    for wanted in (
        {"verdict": "verified"},
        {"verdict": ["partial", "diverged"], "match": MATCH},
        {"condition": "rtt_0"},
        {"status": "complete"},
        {"game": "pong", "experiment": "study", "verdict": "single"},
    ):
        rows = rollgym.episodes(folder, **wanted)
        files = [path for path in rows["facts_file"].to_pylist() if path]
        loaded = {str(episode.path.relative_to(folder)) for episode in rollgym.load(folder, **wanted)}
        assert set(files) == loaded


def test_filters_that_leave_nothing_say_which_and_what_there_is(folder: Path) -> None:
    with pytest.raises(
        rollgym.NoSuchEpisodeError, match=r"none of 5 .* condition 'rtt_1': there are 'rtt_0' \(1\), 'rtt"
    ):
        rollgym.episodes(folder, condition="rtt_1")
    with pytest.raises(rollgym.NoSuchEpisodeError, match=r"game 'drift': there are 'pong' \(5\)$"):
        rollgym.episodes(folder, game="drift")
    with pytest.raises(ValueError, match=r"verdict 'fine': expected one or several of verified, .*, annulled, missing"):
        rollgym.episodes(folder, verdict="fine")
    with pytest.raises(ValueError, match="status 'whole'"):
        rollgym.episodes(folder, status="whole")


# --- where it is read -------------------------------------------------------------------------------------------


def test_a_catalogue_is_only_read(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rollgym.episodes(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


async def test_a_server_may_be_at_work_and_what_it_committed_is_there(tmp_path: Path) -> None:
    found = build(tmp_path)
    place = await catalogue(tmp_path, found[:4])
    try:
        assert (tmp_path / "catalogue.sqlite-wal").stat().st_size > 0
        assert rollgym.episodes(tmp_path).num_rows == 8
        row, match, uploads = found[4]
        await place.add_match(match, (b"left", b"right"))
        for upload in uploads:
            await place.add_upload(upload)
        await place.set_verdict(row)
        assert rollgym.episodes(tmp_path).num_rows == 10
    finally:
        await asyncio.to_thread(place.close)


def test_a_folder_without_a_catalogue_is_not_given_one(tmp_path: Path, folder: Path) -> None:
    rows = build(tmp_path)
    for path in (tmp_path, tmp_path / "episodes" / MATCH):
        assert rollgym.episodes(path, match=MATCH).num_rows == 8
    assert not (tmp_path / "catalogue.sqlite").exists()
    one = tmp_path / "episodes" / OTHER / "episode_000000" / "canonical.parquet"
    assert listed(rollgym.episodes(one), "match", "player", "facts_file", "own_file") == [
        (OTHER, player, "canonical.parquet", f"player_{player}.parquet") for player in (0, 1)
    ]
    assert len(rows) == 5


def test_files_of_peers_have_rows_without_a_verdict(tmp_path: Path) -> None:
    from tests.rollgym.stored import write_export

    (group,) = play(frames=30)
    for export in group:
        write_export(tmp_path, export)
    table = rollgym.episodes(tmp_path)
    assert listed(table, "player", "verdict", "frames", "own_frames", "facts_file") == [
        (0, None, 30, 30, "episode_000.player_0.parquet"),
        (1, None, 30, 30, "episode_000.player_0.parquet"),
    ]
    assert table["return"].to_pylist() == [
        float(next(rollgym.load(tmp_path)).rewards[a].sum()) for a in ("left", "right")
    ]


def test_a_new_folder_has_no_rows_and_no_folder_is_said(tmp_path: Path) -> None:
    SqliteCatalogue(tmp_path / "catalogue.sqlite").close()
    assert rollgym.episodes(tmp_path, verdict="verified").num_rows == 0
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        rollgym.episodes(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no episodes in it"):
        rollgym.episodes(tmp_path / "empty")
    (tmp_path / "catalogue.sqlite").write_bytes(b"something else " * 1000)
    with pytest.raises(ServerError, match="rollgym catalogue rebuild"):
        rollgym.episodes(tmp_path)


# --- earlier versions -------------------------------------------------------------------------------------------


def outdated(root: Path) -> None:
    """Make a catalogue one of version 2: such a server did not count."""
    with closing(sqlite3.connect(root / "catalogue.sqlite")) as db:
        db.executescript(
            "DROP INDEX match_number; ALTER TABLE match DROP COLUMN owner; DROP TABLE episode_player;"
            " PRAGMA user_version=2;"
        )


def test_what_an_earlier_version_judged_is_looked_up_in_its_files(tmp_path: Path) -> None:
    catalogued(tmp_path, build(tmp_path))
    before = rollgym.episodes(tmp_path)
    outdated(tmp_path)
    assert rollgym.episodes(tmp_path).equals(before)
    gone = tmp_path / "episodes" / OTHER / "episode_000000" / "player_1.parquet"
    gone.unlink()
    with pytest.raises(rollgym.EpisodeFileError, match=str(gone)):
        rollgym.episodes(tmp_path)


# --- start-up ---------------------------------------------------------------------------------------------------


def test_neither_a_server_nor_the_games_are_imported_for_it(folder: Path) -> None:
    heavy = ("aiohttp", "socketio", "gymnasium", "pydantic", "typer", "rollgym.server.http", "rollgym.server.settings")
    code = f"import sys, rollgym; rollgym.episodes({str(folder)!r}); print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"
