"""rollgym export: what other tools read is what was recorded."""

from __future__ import annotations

import csv
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import rollgym
from rollgym.cli import app
from rollgym.dataset.csv_cells import cells, csv_lines, header_line
from rollgym.dataset.flat_table import OWN_NAMES
from rollgym.dataset.load import Episode
from rollgym.games.spaces.described import describe
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import OWN_COLUMNS, Canonical, Info
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.files.parquet import write_episode
from rollgym.protocol.messages import GameIdentity
from tests.protocol.episodes import small_episode
from tests.rollgym.stored import MATCH, OTHER, play, write_export


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})


def done(*arguments: object) -> Any:
    result = export(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def as_csv(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("csv")
    done(data, "--format", "csv", "--out", out)
    return out


def first_episode(data: Path) -> Episode:
    return next(rollgym.load(data, match=MATCH))


def test_csv_has_a_file_for_each_verified_episode_and_player(as_csv: Path) -> None:
    names = sorted(str(path.relative_to(as_csv)) for path in as_csv.rglob("*.csv"))
    assert names == [
        *(f"pong/{MATCH}/episode_{episode:06d}.player_{player}.csv" for episode in (0, 1) for player in (0, 1)),
        *(f"pong/{OTHER}/episode_000000.player_{player}.csv" for player in (0, 1)),
    ]
    assert sorted(path.with_suffix(".csv") for path in as_csv.rglob("*.json")) == sorted(as_csv.rglob("*.csv"))


def test_csv_holds_every_value_in_the_columns_that_users_of_mug_know(data: Path, as_csv: Path) -> None:
    episode = first_episode(data)
    found = rows(as_csv / "pong" / MATCH / "episode_000000.player_1.csv")
    assert len(found) == episode.frames > 100
    assert [row["t"] for row in found] == [str(t) for t in range(episode.frames)]
    assert {row["episode_num"] for row in found} == {"0"}
    for agent in episode.agents:
        assert [row[f"actions.{agent}"] for row in found] == [str(a) for a in episode.actions[agent].tolist()]
        assert [row[f"rewards.{agent}"] for row in found] == [repr(r) for r in episode.rewards[agent].tolist()]
        assert [row[f"terminateds.{agent}"] == "true" for row in found] == episode.terminations[agent].tolist()
        assert [row[f"truncateds.{agent}"] == "true" for row in found] == episode.truncations[agent].tolist()
        for part, values in episode.observations[agent].items():
            for index in range(values.shape[1]):
                column = [row[f"observations.{agent}.{part}.{index}"] for row in found]
                assert column == [str(value) for value in values[:-1, index].tolist()]
    own = episode.own_parts[1]
    assert [row["wasSpeculative.right"] == "true" for row in found] == own.columns["was_speculative"].array().tolist()
    assert [float(row["timestamp"]) for row in found] == (own.columns["time"].array() + own.started_at).tolist()
    assert "wasSpeculative.left" not in found[0]


def test_sparse_infos_stay_at_their_frame(data: Path, as_csv: Path) -> None:
    episode = first_episode(data)
    found = rows(as_csv / "pong" / MATCH / "episode_000000.player_0.csv")
    keys = {key for row in episode.infos["left"] for key in row}
    assert keys
    for key in keys:
        wanted = ["" if key not in info else str(info[key]) for info in episode.infos["left"][1:]]
        assert [row[f"infos.left.{key}"] for row in found] == wanted
        assert 0 < sum(cell != "" for cell in wanted) < len(wanted)


def test_rollback_events_are_where_they_happened(data: Path, as_csv: Path) -> None:
    own = first_episode(data).own_parts[0]
    found = rows(as_csv / "pong" / MATCH / "episode_000000.player_0.csv")
    told = [(t, event) for t, row in enumerate(found) for event in json.loads(row["rollbackEvents"] or "[]")]
    assert len(told) == len(own.rollbacks) > 3
    for (t, event), was in zip(told, own.rollbacks, strict=True):
        assert t == min(was.at_frame, len(found) - 1)
        assert (event["at_frame"], event["to_frame"], event["depth"]) == (was.at_frame, was.to_frame, was.depth)
        assert (event["player"], event["predicted"], event["actual"]) == (1, was.predicted[0], was.actual[0])


def test_what_has_no_row_is_beside_the_csv(data: Path, as_csv: Path) -> None:
    episode = first_episode(data)
    about = json.loads((as_csv / "pong" / MATCH / "episode_000000.player_0.json").read_text())
    for agent in episode.agents:
        for part, values in episode.observations[agent].items():
            for index in range(values.shape[1]):
                assert about["final"][f"observations.{agent}.{part}.{index}"] == values[-1, index]
    assert about["reset_infos"] == {"left": {}, "right": {}}
    plain = json.loads(json.dumps(episode.provenance))
    assert {key: about[key] for key in plain} == plain
    assert about["players"]["right"]["policy"] == episode.own_parts[1].policy


def test_all_files_of_a_game_have_the_same_columns(as_csv: Path, data: Path, tmp_path: Path) -> None:
    heads = {path.name[-5]: path.read_text().splitlines()[0] for path in sorted(as_csv.rglob("*.csv"))}
    for path in as_csv.rglob("*.csv"):
        assert path.read_text().splitlines()[0] == heads[path.name[-5]]
    done(data, "--format", "parquet", "--out", tmp_path, "--verdict", "all")
    schemas = [pq.read_schema(path).remove_metadata() for path in sorted(tmp_path.rglob("*.parquet"))]
    assert len(schemas) == 6
    assert all(schema == schemas[0] for schema in schemas)


def test_parquet_is_the_episodes_table(data: Path, tmp_path: Path) -> None:
    done(data, "--format", "parquet", "--out", tmp_path)
    episode = first_episode(data)
    found = pq.read_table(tmp_path / "pong" / MATCH / "episode_000000.parquet")
    table = episode.table()
    same = found.select(table.column_names)
    assert same.schema.remove_metadata() == table.schema.remove_metadata()
    assert csv_lines(same) == csv_lines(table)  # as text, where NaN equals NaN
    assert found["actions.left"].type == pa.int64()
    assert found["observations.left.ball_position.0"].type == pa.int32()
    assert found["observations.left.ball_position.0"].null_count == 0
    assert {f"wasSpeculative.{agent}" for agent in episode.agents} <= set(found.column_names)
    about = json.loads(found.schema.metadata[b"rollgym.provenance"])
    assert (about["verdict"], about["seed"]) == ("verified", episode.header.seed)


def test_only_verified_episodes_unless_asked(data: Path, tmp_path: Path) -> None:
    found = done(data, "--format", "parquet", "--out", tmp_path / "a")
    assert (found["episodes"], found["left_out"]) == (3, {"diverged": 2, "partial": 1})
    assert "left out: 2 diverged, 1 partial" in export(data, "--format", "parquet", "--out", tmp_path / "a").stdout
    found = done(data, "--format", "parquet", "--out", tmp_path / "b", "--verdict", "partial")
    assert (found["episodes"], found["left_out"]) == (4, {"diverged": 2})
    found = done(data, "--format", "csv", "--out", tmp_path / "c", "--verdict", "all")
    assert (found["episodes"], found["left_out"]) == (6, {})
    versions = sorted(path.name for path in (tmp_path / "c" / "pong" / MATCH).glob("episode_000003*.csv"))
    assert versions == ["episode_000003.player_0.csv", "episode_000003.player_1.csv"]
    rewards = [rows(tmp_path / "c" / "pong" / MATCH / name)[70]["rewards.right"] for name in versions]
    assert float(rewards[1]) == float(rewards[0]) + 0.5


def test_nothing_to_export_is_said(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for source, reason in (
        (tmp_path / "none", "no such file or folder"),
        (data / "episodes" / MATCH / "episode_000003", "no episode is verified; there are 2 diverged (try --verdict"),
        (data / "inbox", "no episodes in it"),
    ):
        result = export(source, "--format", "csv", "--out", out)
        assert result.exit_code == 2
        assert reason in result.stderr
    assert not out.exists()
    (tmp_path / "file").write_text("")
    result = export(data, "--format", "csv", "--out", tmp_path / "file")
    assert (result.exit_code, f"--out {tmp_path / 'file'} cannot be written: " in result.stderr) == (2, True)
    result = export(data, "--format", "csv", "--out", "/proc/x")
    assert (result.exit_code, "--out /proc/x cannot be written: " in result.stderr) == (2, True)


def test_observations_can_be_left_out(data: Path, tmp_path: Path) -> None:
    done(data, "--format", "csv", "--out", tmp_path, "--no-observations")
    head = next(tmp_path.rglob("*.csv")).read_text().splitlines()[0]
    assert "observations" not in head
    assert "stateDigest" in head


# --- values -----------------------------------------------------------------------------------------------------


def parsed(text: str, kind: pa.DataType) -> Any:
    if text == "":
        return None
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}[text]
    return float(text) if pa.types.is_floating(kind) else int(text) if pa.types.is_integer(kind) else text


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(),
            st.none() | st.floats(width=32),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.integers(0, 2**64 - 1),
            st.none() | st.booleans(),
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        ),
        max_size=8,
    )
)
def test_cells_read_back_to_the_same_bits(values: list[tuple[Any, ...]]) -> None:
    kinds = [pa.float64(), pa.float32(), pa.int64(), pa.uint64(), pa.bool_(), pa.string()]
    columns = [pa.array([row[i] for row in values], kind) for i, kind in enumerate(kinds)]
    table = pa.table(columns, names=["f8", "f4", 'i"8', "u8", "b,1", "text"])
    lines = csv_lines(table).to_pylist()
    read = list(csv.reader([header_line(table.column_names), *"\n".join(lines).splitlines(keepends=True)], strict=True))
    assert read[0] == table.column_names
    if not any("\n" in (row[5] or "") or "\r" in (row[5] or "") for row in values):
        for row, line in zip(values, read[1:], strict=True):
            for value, text, kind in zip(row, line, kinds, strict=True):
                if pa.types.is_string(kind):
                    assert text == (value or "")
                elif isinstance(value, float):
                    assert "." in text or "e" in text or "n" in text  # never an integer
                    pattern = "<f" if kind == pa.float32() else "<d"
                    if not math.isnan(value):
                        assert struct.pack(pattern, float(text)) == struct.pack(pattern, value)
                    else:
                        assert text == "NaN"
                else:
                    assert parsed(text, kind) == value
    for value, cell in zip([row[5] for row in values], cells(columns[5]).to_pylist(), strict=True):
        assert (cell == "") == (value is None)


def write_small(path: Path, episode: int, infos: list[Info]) -> None:
    """An episode of two agents with described spaces."""
    from gymnasium import spaces

    header, canonical = small_episode(frames=4, infos=infos)
    observed = spaces.Dict({"at": spaces.Box(-9, 99, (2,), np.int64)}), spaces.Box(-9, 99, (), np.float32)
    acted = spaces.Discrete(3), spaces.Discrete(2)
    game = GameIdentity(
        "toy", "1", {}, ("a", "b"), tuple(describe(s) for s in acted), tuple(describe(s) for s in observed)
    )
    import msgspec

    columns = {name: column for name, column in canonical.columns.items() if name != "observations/b/at"}
    columns["observations/b"] = Column.of(np.linspace(0, 1, 5, dtype=np.float32))
    header = msgspec.structs.replace(header, game=game, episode=episode)
    write_episode(path, header, Canonical(columns, canonical.infos), None, {"verdict": "verified"})


def test_infos_of_any_type(tmp_path: Path) -> None:
    nested = {"seen": np.array([[1, 2], [3, 4]]), "who": b"\x01"}
    infos = [
        Info(0, 0, "start", pack_value(7)),
        Info(1, 0, "mixed", pack_value(1)),
        Info(2, 0, "mixed", pack_value(1.0)),
        Info(3, 0, "mixed", pack_value("text")),
        Info(3, 0, "nested", pack_value(nested)),
        Info(4, 1, "share", pack_value(0.1)),
    ]
    (tmp_path / "in").mkdir()
    write_small(tmp_path / "in" / "a.parquet", 0, infos)
    write_small(tmp_path / "in" / "b.parquet", 1, [Info(1, 1, "share", pack_value(2))])
    done(tmp_path / "in", "--format", "csv", "--out", tmp_path / "out")
    one, two = (rows(tmp_path / "out" / "toy" / "m" / f"episode_00000{n}.csv") for n in (0, 1))
    assert [row["infos.a.mixed"] for row in one] == ["1", "1.0", '"text"', ""]
    assert json.loads(one[2]["infos.a.nested"]) == {"seen": [[1, 2], [3, 4]], "who": {"%bytes": "01"}}
    assert [row["infos.b.share"] for row in one] == ["", "", "", "0.1"]
    assert [row["infos.b.share"] for row in two] == ["2", "", "", ""]  # an integer beside the other file's float
    assert [row["infos.a.start"] for row in one] == [""] * 4
    about = json.loads((tmp_path / "out" / "toy" / "m" / "episode_000000.json").read_text())
    assert about["reset_infos"] == {"a": {"start": 7}, "b": {}}
    assert about["final"]["observations.b"] == 1.0
    assert [row["observations.b"] for row in one] == ["0.0", "0.25", "0.5", "0.75"]


def test_the_same_episode_twice_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "a.parquet", 0, [])
    write_small(tmp_path / "b.parquet", 0, [])
    result = export(tmp_path, "--format", "csv", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "the same match, episode and player as" in result.stderr


def test_every_own_column_has_a_name_in_the_table() -> None:
    assert set(OWN_NAMES) == set(OWN_COLUMNS)


# --- Minari -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minari_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("minari")
    assert done(data, "--format", "minari", "--out", out)["datasets"] == ["rollgym/pong-v0"]
    return out


def test_minari_loads_what_was_recorded(data: Path, minari_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(minari_folder))
    dataset = minari.load_dataset("rollgym/pong-v0")
    wanted = list(rollgym.load(data, verdict="verified"))
    assert (dataset.total_episodes, dataset.total_steps) == (3, sum(episode.frames for episode in wanted))
    metadata = list(dataset.storage.get_episode_metadata(range(3)))
    for found, episode, about in zip(dataset.iterate_episodes(), wanted, metadata, strict=True):
        for agent in episode.agents:
            assert np.array_equal(found.actions[agent], episode.actions[agent])
            for part, values in episode.observations[agent].items():
                assert np.array_equal(found.observations[agent][part], values)
                assert found.observations[agent][part].dtype == values.dtype
            assert np.array_equal(found.infos[f"reward/{agent}"][1:], episode.rewards[agent])
            infos = episode.infos[agent]
            for key in ("point", "rally"):
                there = found.infos[f"present/{agent}/{key}"]
                assert there.tolist() == [key in info for info in infos]
                values = found.infos[f"info/{agent}/{key}"][there]
                assert values.tolist() == [info[key] for info in infos if key in info]
                assert values.dtype == np.int64
        assert np.array_equal(found.rewards, sum(episode.rewards[agent] for agent in episode.agents))
        ends = found.terminations | found.truncations
        assert ends.tolist() == [False] * (episode.frames - 1) + [True]
        member = {a: {k: v[0] for k, v in parts.items()} for a, parts in found.observations.items()}
        assert dataset.observation_space.contains(member)
        assert about["seed"] == episode.header.seed
        assert json.loads(about["rollgym"])["match"] == episode.match


def test_a_minari_dataset_is_not_replaced(data: Path, minari_folder: Path) -> None:
    result = export(data, "--format", "minari", "--out", minari_folder)
    assert result.exit_code == 2
    assert "there already" in result.stderr


def test_minari_keeps_pictures_and_scalars_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import minari
    import msgspec
    from gymnasium import spaces

    header, canonical = small_episode(frames=2)
    picture = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    acted = spaces.Dict({"go": spaces.Discrete(2), "to": spaces.MultiDiscrete([3, 3])})
    game = GameIdentity(
        "toy", "1", {}, ("a", "b"), (describe(acted),) * 2, (describe(picture), describe(spaces.Discrete(9)))
    )
    columns = {
        **{name: column for name, column in canonical.columns.items() if not name.startswith(("obs", "actions"))},
        "observations/a": Column.of(pixels),
        "observations/b": Column.of(np.array([4, 5, 6])),
        "actions/a": Column("|u1", (2, 3), bytes([1, 2, 0, 0, 1, 1])),
        "actions/b": Column("|u1", (2, 3), bytes([0, 0, 0, 1, 2, 2])),
    }
    write_episode(
        tmp_path / "e.parquet",
        msgspec.structs.replace(header, game=game),
        Canonical(columns, []),
        None,
        {"verdict": "verified"},
    )
    done(tmp_path / "e.parquet", "--format", "minari", "--out", tmp_path / "out")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "out"))
    (found,) = minari.load_dataset("rollgym/toy-v0").iterate_episodes()
    assert np.array_equal(found.observations["a"], pixels)
    assert found.observations["b"].tolist() == [4, 5, 6]
    assert found.actions["a"]["go"].tolist() == [1, 0]
    assert found.actions["b"]["to"].tolist() == [[0, 0], [2, 2]]


def test_an_npc_is_exported_as_an_agent(tmp_path: Path) -> None:

    parameters = {"cooks": 3, "npcs": {"cook_2": {"policy": "cook"}}}
    (exports,) = play("kitchen", frames=40, parameters=parameters)
    (tmp_path / "in").mkdir()
    write_export(tmp_path / "in", exports[0])
    done(tmp_path / "in", "--format", "csv", "--out", tmp_path / "out", "--verdict", "unjudged")
    found = rows(next((tmp_path / "out").rglob("*.csv")))
    assert {row["inputSource.cook_2"] for row in found} == {"2"}
    assert {row["inputSource.cook_0"] for row in found} == {"0"}
    assert len({row["actions.cook_2"] for row in found}) > 1


def test_games_are_kept_apart(tmp_path: Path) -> None:

    (tmp_path / "in").mkdir()
    for number, (game, parameters) in enumerate(
        (("drift", {}), ("pong", {"points": 2}), ("pong", {"points": 3}), ("kitchen", {"cooks": 2}))
    ):
        (group,) = play(game, frames=20, parameters=dict(parameters), match=f"m{number}")
        write_export(tmp_path / "in", group[0]).rename(tmp_path / "in" / f"{number}.parquet")
    found = done(tmp_path / "in", "--format", "parquet", "--out", tmp_path / "flat", "--verdict", "unjudged")
    names = [str(Path(name).relative_to(tmp_path / "flat")) for name in found["files"]]
    assert names == [
        "drift/m0/episode_000000.player_0.parquet",
        "pong/m1/episode_000000.player_0.parquet",
        "pong/m2/episode_000000.player_0.parquet",
        "kitchen/m3/episode_000000.player_0.parquet",
    ]
    found = done(tmp_path / "in", "--format", "minari", "--out", tmp_path / "minari", "--verdict", "unjudged")
    # The bounds of the spaces differ between a game to two points and one to three.
    assert found["datasets"] == [f"rollgym/{name}-v0" for name in ("drift", "pong", "pong-2", "kitchen")]
