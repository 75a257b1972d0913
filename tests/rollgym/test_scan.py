"""rollgym.scan: the frames of all episodes as one lazy table that says what rollgym.load says."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given

import rollgym
from rollgym.dataset.load import Episode
from rollgym.protocol.episode.export import Info
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.files.layout import read_arrow, read_layout, read_schema
from rollgym.protocol.files.table_types import facts_fields, info_fields
from rollgym.server.record import verdicts
from rollgym.server.record.finding import Finding
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.rollgym.random_datasets import EpisodePlan, datasets, write
from tests.rollgym.stored import MATCH, OTHER, Judged, altered, catalogue, changed, judged, play, write_export

UNREADABLE = (OSError, pa.ArrowException)


def catalogued(root: Path, found: list[Judged]) -> Path:
    """The folder with its catalogue."""

    async def add() -> None:
        await asyncio.to_thread((await catalogue(root, found)).close)

    asyncio.run(add())
    return root


def build(root: Path) -> list[Judged]:
    """An episode of each verdict and one of another match."""
    first, second, third, fourth = play(episodes=4, frames=40)
    (other,) = play(match=OTHER, seed=4, frames=30)
    return [
        judged(root, first),
        judged(root, [changed(export, status="aborted") for export in second]),
        judged(root, [third[0], altered(third[1], "rewards", (30, 1), 0.5)]),
        judged(root, fourth[1:]),
        judged(root, other, "rtt_0"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a catalogue; tests must not change it."""
    root = tmp_path_factory.mktemp("scanned")
    return catalogued(root, build(root))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def listed(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns, row by row."""
    return [*zip(*(table[name].to_pylist() for name in columns), strict=True)]


def broken(root: Path, match: str, episode: int) -> Path:
    """Cut an episode's file of facts off."""
    path = root / "episodes" / match / f"episode_{episode:06d}" / "canonical.parquet"
    path.write_bytes(path.read_bytes()[:100])
    return path


# --- what load says ---------------------------------------------------------------------------------------------


def version_of(episode: Episode) -> int | None:
    return episode.source.writer


def agree(root: Path, found: pads.Dataset, filters: Mapping[str, Any]) -> None:
    """The frames are those that load gives, no less and no more, in its order."""
    rows, at = found.to_table(use_threads=False), 0
    for episode in rollgym.load(root, **filters):
        part = rows.slice(at, episode.frames + 1)
        at += episode.frames + 1
        facts = episode.provenance
        assert set(listed(part, *SAID)) == {
            (
                *(episode.match, episode.number, version_of(episode), facts.get("experiment"), facts.get("condition")),
                *(facts.get("match_number"), episode.header.game.id, episode.header.game.version),
                *(episode.header.settings.input_delay, episode.verdict, episode.header.status),
                *(episode.frames, episode.header.seed),
            )
        }
        stored = read_arrow(episode.path)
        for name in found.schema.names:
            if name in stored.column_names:
                # Bit for bit: not-a-number is equal to itself.
                kept = stored[name].combine_chunks().cast(part.schema.field(name).type)
                assert repr(part[name].to_pylist()) == repr(kept.to_pylist())
            elif name not in SAID:
                assert name.startswith("infos/")
                assert part[name].null_count == len(part)
        for index, agent in enumerate(episode.agents):
            rewards = [row[index] for row in part["rewards"].to_pylist()[: episode.frames]]
            np.testing.assert_array_equal(np.array(rewards), episode.rewards[agent])
    assert at == rows.num_rows == found.count_rows()


SAID = (
    *("match", "episode", "player", "experiment", "condition", "match_number", "game", "game_version"),
    *("input_delay", "verdict", "status", "frames", "seed"),
)


@given(datasets())
def test_the_frames_are_those_that_load_gives_with_a_catalogue_and_without(plans: list[EpisodePlan]) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        catalogued(root, write(root, plans))
        for _ in range(2):
            for game in sorted({plan.game for plan in plans}):
                for infos in (False, True):
                    agree(root, rollgym.scan(root, game=game, infos=infos), {"game": game})
            (root / "catalogue.sqlite").unlink(missing_ok=True)


def test_columns_are_known_from_the_metadata_alone(folder: Path, tmp_path: Path) -> None:
    overcooked = write_export(tmp_path, play("kitchen", frames=20)[0][0])
    for path in (*(folder / "episodes").rglob("canonical*.parquet"), overcooked):
        layout = read_layout(path)
        found = dict([*facts_fields(layout), *info_fields(layout)])
        schema = read_schema(path)
        assert found == {name: schema.field(name).type for name in schema.names if not name.startswith("own/")}


def test_peers_own_files_are_one_episode_of_facts_only(tmp_path: Path) -> None:
    for export in play(frames=20)[0]:
        write_export(tmp_path, export)
    found = rollgym.scan(tmp_path)
    agree(tmp_path, found, {})
    assert found.count_rows() == 21
    assert not any(name.startswith("own/") for name in found.schema.names)
    agree(tmp_path / "episode_000.player_1.parquet", rollgym.scan(tmp_path / "episode_000.player_1.parquet"), {})


# --- what is opened ---------------------------------------------------------------------------------------------


def test_one_file_of_a_game_is_opened_and_no_other(copy: Path) -> None:
    first, *others = sorted((copy / "episodes").rglob("canonical*.parquet"))
    for path in others:
        path.unlink()
    found = rollgym.scan(copy)
    only = (pads.field("match") == MATCH) & (pads.field("episode") == 0)
    assert found.to_table(filter=only, columns=["frame"]).num_rows == 41
    first.unlink()
    with pytest.raises(rollgym.EpisodeFileError, match=str(first)):
        rollgym.scan(copy)


def test_a_filter_leaves_the_files_of_other_episodes_alone(copy: Path) -> None:
    shutil.rmtree(copy / "episodes" / MATCH / "episode_000002")
    path = broken(copy, MATCH, 1)
    found = rollgym.scan(copy)
    with pytest.raises(UNREADABLE, match=r"episode_00000[12]"):
        found.to_table()
    verified = pads.field("verdict") == "verified"
    assert set(listed(found.to_table(filter=verified), "match", "episode")) == {(MATCH, 0), (OTHER, 0)}
    assert set(found.to_table(filter=pads.field("condition") == "rtt_0")["match"].to_pylist()) == {OTHER}
    assert rollgym.scan(copy, verdict="verified").count_rows() == 41 + 31
    with pytest.raises(rollgym.EpisodeFileError, match=str(path)):
        rollgym.scan(copy, verdict="partial")


def test_metadata_of_files_are_not_kept(copy: Path) -> None:
    found = rollgym.scan(copy, match=OTHER)
    for rows in (found.to_table(columns=["frame"]), next(iter(found.to_batches(columns=["frame"])))):
        assert rows.num_rows == 31
    assert found.filter(pads.field("frame") < 5).to_table(columns=["frame"]).num_rows == 5
    broken(copy, OTHER, 0)
    for use in (found.to_table, found.filter(pads.field("frame") < 5).to_table, found.head):
        with pytest.raises(UNREADABLE, match="canonical"):
            use(**({"num_rows": 1} if use == found.head else {}))


def test_a_flipped_bit_is_an_error(copy: Path) -> None:
    path = copy / "episodes" / OTHER / "episode_000000" / "canonical.parquet"
    found = rollgym.scan(copy, match=OTHER)
    rewards = pq.read_metadata(path).row_group(0).column(1)
    data = bytearray(path.read_bytes())
    data[rewards.data_page_offset + rewards.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UNREADABLE, match="CRC checksum"):
        found.to_table(columns=["rewards"])


def test_the_folder_may_be_left_after_the_call(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(folder)
    found = rollgym.scan(".")
    monkeypatch.chdir(tmp_path)
    assert found.count_rows() == 5 * 41 + 31


# --- columns that differ ----------------------------------------------------------------------------------------


def with_infos(root: Path, number: int, **infos: Any) -> Judged:
    """An episode whose infos, of the first agent and from ``reset``, are these, and that is verified all the same."""
    (group,) = play(frames=20)
    given = [Info(0, 0, key, pack_value(value)) for key, value in sorted(infos.items())]
    exports = [changed(e, msgspec.structs.replace(e.canonical, infos=given), episode=number) for e in group]
    finding = Finding("verified", "as given", None, (exports[0],))
    with mock.patch.object(verdicts, "find", return_value=finding):
        return judged(root, exports)


def infos_of(found: pads.Dataset) -> dict[str, list[Any]]:
    """By column, those of the first row of every episode."""
    table = found.to_table(filter=pads.field("frame") == 0, use_threads=False)
    return {name: table[name].to_pylist() for name in found.schema.names if name.startswith("infos/")}


def test_infos_are_there_when_asked_for_whatever_episode_has_them(tmp_path: Path) -> None:
    catalogued(tmp_path, [with_infos(tmp_path, 0, a=1), with_infos(tmp_path, 1, a=2, b="x"), with_infos(tmp_path, 2)])
    for _ in range(2):
        assert infos_of(rollgym.scan(tmp_path)) == {}
        found = infos_of(rollgym.scan(tmp_path, infos=True))
        assert found == {"infos/left/a": [1, 2, None], "infos/left/b": [None, "x", None]}
        (tmp_path / "catalogue.sqlite").unlink(missing_ok=True)


def test_an_info_that_is_of_two_types_is_no_column(tmp_path: Path) -> None:
    # Arrow would make a number of the bytes of the second one.
    catalogued(tmp_path, [with_infos(tmp_path, 0, a=1, b=2), with_infos(tmp_path, 1, a=[1], b=3)])
    assert infos_of(rollgym.scan(tmp_path, infos=True)) == {"infos/left/b": [2, 3]}


@pytest.mark.parametrize("with_catalogue", [True, False])
def test_games_whose_columns_differ_are_refused_and_the_filter_is_named(tmp_path: Path, with_catalogue: bool) -> None:
    found = [
        judged(tmp_path, play(frames=20)[0]),
        judged(tmp_path, play("kitchen", match=OTHER, frames=20)[0], "rtt_0"),
    ]
    if with_catalogue:
        catalogued(tmp_path, found)
    with pytest.raises(
        ValueError,
        match=r"episodes of 2 games whose columns differ are no one table; "
        r"give one of game='pong' \(pong: 1 episode\), game='kitchen' \(kitchen: 1 episode\)$",
    ):
        rollgym.scan(tmp_path)
    assert rollgym.scan(tmp_path, game="pong").count_rows() == 21
    assert rollgym.scan(tmp_path, condition="rtt_0").count_rows() == 21


def test_one_game_with_other_agents_is_told_apart_by_what_it_was_played_for(tmp_path: Path) -> None:
    three: dict[str, object] = {"cooks": 3, "npcs": {"cook_1": {"policy": "cook"}}}
    judged(tmp_path, play("kitchen", frames=20)[0])
    judged(tmp_path, play("kitchen", match=OTHER, frames=20, parameters=three)[0], "rtt_0")
    with pytest.raises(ValueError, match=r"give one of condition='rtt_80' \(kitchen: 1 episode\), condition='rtt_0'"):
        rollgym.scan(tmp_path)


# --- what cannot be read ----------------------------------------------------------------------------------------


def test_filters_and_errors_are_those_of_load(folder: Path, tmp_path: Path) -> None:
    for wanted in (
        {"verdict": "verified"},
        {"match": MATCH, "verdict": ["partial", "diverged"]},
        {"condition": "rtt_0"},
    ):
        agree(folder, rollgym.scan(folder, **wanted), wanted)
    with pytest.raises(rollgym.NoSuchEpisodeError) as scanned:
        rollgym.scan(folder, condition="rtt_1")
    with pytest.raises(rollgym.NoSuchEpisodeError) as loaded:
        rollgym.load(folder, condition="rtt_1")
    assert str(scanned.value) == str(loaded.value)
    with pytest.raises(ValueError, match=r"verdict 'unjudged': expected one or several of verified"):
        rollgym.scan(folder, verdict="unjudged")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        rollgym.scan(tmp_path / "none")
    SqliteCatalogue(tmp_path / "catalogue.sqlite").close()
    with pytest.raises(FileNotFoundError, match="no episodes in it"):
        rollgym.scan(tmp_path)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_export(folder, play(frames=10)[0][0])
    with pytest.raises(ValueError, match="is no text: Arrow opens no such path"):
        rollgym.scan(folder)


# --- other readers ----------------------------------------------------------------------------------------------


def rewards_of_verified(folder: Path) -> list[tuple[str, int, int, float]]:
    """By episode: its frames, and the first agent's return."""
    episodes = [*rollgym.load(folder, verdict="verified")]
    return [(e.match, e.number, e.frames, float(e.rewards[e.agents[0]].sum())) for e in episodes]


def test_polars_reads_it_and_opens_what_it_needs(copy: Path) -> None:
    polars: Any = pytest.importorskip("polars")
    wanted = rewards_of_verified(copy)
    broken(copy, MATCH, 1)  # not verified
    column = polars.col
    frames = polars.scan_pyarrow_dataset(rollgym.scan(copy))
    verified = frames.filter(column("verdict") == "verified", column("frame").is_not_null())
    returns = column("rewards").arr.get(0).sum()
    by_episode = verified.group_by("match", "episode").agg(polars.len(), returns).sort("match", "episode")
    assert by_episode.collect().rows() == wanted


def test_duckdb_reads_it_and_opens_what_it_needs(copy: Path) -> None:
    duckdb: Any = pytest.importorskip("duckdb")
    wanted = rewards_of_verified(copy)
    broken(copy, MATCH, 1)  # not verified
    with duckdb.connect() as db:
        db.register("frames", rollgym.scan(copy))
        query = """SELECT match, episode, count(*), sum(rewards[1]) FROM frames
            WHERE verdict = 'verified' AND frame IS NOT NULL GROUP BY ALL ORDER BY match, episode"""
        assert db.sql(query).fetchall() == wanted
