"""rollgym.load on a data folder: filters, provenance, own parts, tables, one episode at a time."""

from __future__ import annotations

import json
import pydoc
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import rollgym
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.files.parquet import EpisodeFileError, Footer, read_episode, read_footer, read_table
from tests.rollgym.stored import MATCH, OTHER, play, write_export


def test_a_data_folder_gives_its_episodes_in_order(data: Path) -> None:
    found = [(e.match, e.number, e.verdict, e.path.name) for e in rollgym.load(data)]
    assert found == [
        (MATCH, 0, "verified", "canonical.parquet"),
        (MATCH, 1, "verified", "canonical.parquet"),
        (MATCH, 2, "partial", "canonical.parquet"),
        (MATCH, 3, "diverged", "canonical.player_0.parquet"),
        (MATCH, 3, "diverged", "canonical.player_1.parquet"),
        (OTHER, 0, "verified", "canonical.parquet"),
    ]


def test_filters_take_one_value_or_several(data: Path) -> None:
    assert [e.number for e in rollgym.load(data, match=MATCH, verdict="verified")] == [0, 1]
    assert [e.match for e in rollgym.load(data, condition="rtt_0")] == [OTHER]
    assert [e.number for e in rollgym.load(data, verdict=["partial", "diverged"])] == [2, 3, 3]
    assert len(list(rollgym.load(data, experiment="study"))) == 6


def test_filters_that_leave_nothing_say_which_and_what_there_is(data: Path) -> None:
    with pytest.raises(
        rollgym.NoSuchEpisodeError, match=r"none of 6 .* experiment 'another': there are 'study' \(6\)$"
    ):
        rollgym.load(data, experiment="another")
    with pytest.raises(LookupError, match=r"condition 'a' or 'b': there are 'rtt_0' \(1\), 'rtt_80' \(5\)$"):
        rollgym.load(data, condition=["a", "b"], verdict="verified")
    with pytest.raises(LookupError, match=r"all of match .*, condition 'rtt_0' at once, though there are some of each"):
        rollgym.load(data, match=MATCH, condition="rtt_0")
    with pytest.raises(LookupError, match=r"condition \(nothing\)"):
        rollgym.load(data, condition=[])


def test_an_episode_is_shown_in_a_line(data: Path) -> None:
    shown = repr(next(rollgym.load(data)))
    assert shown == f"<Episode 0 of match {MATCH}: pong, 150 frames of left, right, complete, verified>"


def test_help_shows_what_there_is() -> None:
    shown = pydoc.plain(pydoc.render_doc(rollgym))
    assert all(text in shown for text in ("load(", "class Episode(", "class NoSuchEpisodeError(", "rollgym --help"))
    assert set(rollgym.__all__) <= set(dir(rollgym))


def test_an_episodes_folder_and_its_canonical_file(data: Path) -> None:
    folder = data / "episodes" / MATCH / "episode_000001"
    (whole,) = rollgym.load(folder)
    (file,) = rollgym.load(folder / "canonical.parquet")
    assert whole.path == file.path
    assert sorted(whole.own_parts) == sorted(file.own_parts) == [0, 1]
    assert list(rollgym.load(folder / "player_0.parquet")) == []


def test_one_episode_is_read_at_a_time(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    broken = copy / "episodes" / MATCH / "episode_000001" / "canonical.parquet"
    broken.write_bytes(broken.read_bytes()[:200])
    episodes = rollgym.load(copy)
    assert next(episodes).number == 0  # what comes later has not been touched
    with pytest.raises(EpisodeFileError, match="episode_000001"):
        next(episodes)


def test_what_is_not_wanted_is_not_read(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def watched(path: Path, footer: Footer | None = None) -> object:
        read.append(Path(path).parent.name)
        return read_table(path, footer)

    monkeypatch.setattr("rollgym.dataset.load.read_table", watched)
    assert [e.number for e in rollgym.load(data, verdict="partial")] == [2]
    assert read == ["episode_000002"]


def test_every_file_is_opened_once_and_players_own_parts_beside_it_not_at_all(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Path] = []

    def watched(path: Path) -> Footer:
        parsed.append(path)
        return read_footer(path)

    monkeypatch.setattr("rollgym.dataset.sources.read_footer", watched)
    monkeypatch.setattr("rollgym.protocol.files.parquet.read_footer", watched)
    assert [episode.path for episode in rollgym.load(data, experiment="study")] == parsed
    assert len(parsed) == 6


def test_arrays_and_infos_are_those_of_the_export(tmp_path: Path) -> None:
    for game in ("pong", "kitchen"):
        (group,) = play(game, frames=40)
        path = write_export(tmp_path, group[0])
        (episode,) = rollgym.load(path)
        stored = read_episode(path).canonical
        assert stored is not None
        assert stored == group[0].canonical
        for name in ("rewards", "terminations", "truncations"):
            found = getattr(episode, name)
            for index, agent in enumerate(episode.agents):
                np.testing.assert_array_equal(found[agent], stored.columns[name].array()[:, index])
                assert not found[agent].flags.writeable
        assert not episode.input_source.flags.writeable
        given: dict[str, list[dict[str, object]]] = {agent: [{} for _ in range(41)] for agent in episode.agents}
        for info in stored.infos:
            given[episode.agents[info.agent]][info.row][info.key] = unpack_value(info.value)
        assert [*map(list, episode.infos.items())] == [*map(list, given.items())]


def test_own_parts_are_the_players(data: Path) -> None:
    episode = next(rollgym.load(data))
    assert episode.own is None
    for player, own in episode.own_parts.items():
        stored = read_episode(episode.path.with_name(f"player_{player}.parquet"))
        assert own == stored.own
    with pytest.raises(ValueError, match=r"player 2: expected one of \[0, 1\]"):
        episode.table(2)


def test_a_diverged_version_has_its_own_players_part_only(data: Path) -> None:
    versions = list(rollgym.load(data, verdict="diverged"))
    assert [sorted(version.own_parts) for version in versions] == [[0], [1]]


def test_provenance_says_it_all(data: Path) -> None:
    episode = next(rollgym.load(data))
    found = episode.provenance
    header = episode.header
    assert (found["schema"], found["match"], found["episode"]) == (header.schema, MATCH, 0)
    assert (found["experiment"], found["condition"], found["config_hash"]) == ("study", "rtt_80", "c0ffee")
    assert (found["seed"], found["match_seed"]) == (header.seed, header.match_seed)
    assert found["game"]["parameters"] == header.game.parameters
    assert found["game"]["action_spaces"][0]["type"] == "Discrete"
    assert found["settings"]["input_delay"] == header.settings.input_delay
    assert (found["verdict"], found["match_created"]) == ("verified", 1_700_000_000.5)
    assert found["received"] == {"0": 1_700_000_100.25, "1": 1_700_000_100.25}
    assert len(found["digests"]["0"]) == 64
    assert found["digests"]["0"] == found["digests"]["1"]
    own = episode.own_parts[1]
    assert found["played"]["1"] == [own.started_at, own.ended_at]
    assert found["players"]["right"]["stats"] == own.stats
    assert {"python", "numpy", "pyarrow"} <= set(found["server_software"])
    assert found["client_software"] == [{"python": "3.11", "rollgym": "1"}] * 2
    json.dumps(found)


def test_a_mismatch_is_in_the_provenance(data: Path) -> None:
    found = next(rollgym.load(data, verdict="diverged")).provenance
    assert (found["mismatch"]["frame"], found["mismatch"]["field"]) == (70, "rewards")


def test_a_peers_file_carries_its_digest(tmp_path: Path) -> None:
    (group,) = play(frames=30)
    write_export(tmp_path, group[1])
    (episode,) = rollgym.load(tmp_path)
    assert episode.verdict is None
    assert episode.provenance["digests"] == {"1": group[1].digest.hex()}
    assert list(episode.own_parts) == [1]
    with pytest.raises(LookupError, match="none of 1 episodes has verdict 'verified': there are 1 that do not say"):
        rollgym.load(tmp_path, verdict="verified")


def test_the_table_says_what_the_arrays_say(data: Path) -> None:
    episode = next(rollgym.load(data))
    table = episode.table()
    assert table.num_rows == episode.frames
    for agent in episode.agents:
        assert table[f"actions.{agent}"].to_pylist() == episode.actions[agent].tolist()
        assert table[f"rewards.{agent}"].to_pylist() == episode.rewards[agent].tolist()
        seen = episode.observations[agent]["ball_position"]
        columns = [table[f"observations.{agent}.ball_position.{i}"].to_numpy() for i in (0, 1)]
        assert np.array_equal(np.stack(columns, axis=1), seen[:-1])
        assert columns[0].dtype == seen.dtype
    assert table["wasSpeculative.left"].to_pylist() == episode.own_parts[0].columns["was_speculative"].array().tolist()
    mine = episode.table(1)
    assert "timestamp" in mine.column_names
    assert "timestamp.right" not in mine.column_names
    assert isinstance(table, pa.Table)
