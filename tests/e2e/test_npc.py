"""Two players and one NPC: real processes, a real server, its audit, and the dataset afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app

EXPERIMENT = """
experiment:
  game:
    id: kitchen
    parameters: {cooks: 3, layout: banquet, cook_time: 10}
    npcs:
      cook_1: {policy: echo, seed: 4}
  seed: 5
  play: {episodes: 1, fps: 60, frame_limit: 90, input_delay: 1}
server: {port: 0}
bots: [{policy: random_hold, seed: 1}, {policy: random_hold, seed: 2}]
network: {latency: 40ms, jitter: 10ms}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of one run."""
    folder = tmp_path_factory.mktemp("npc")
    (folder / "npc.yaml").write_text(EXPERIMENT)
    done = CliRunner().invoke(app, ["run", str(folder / "npc.yaml"), "--data", str(folder / "data"), "--json"])
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert [(e["frames"], e["verdict"]) for e in summary["episodes"]] == [(90, "verified")]
    assert len(summary["peers"]) == 2
    assert min(peer["rollbacks"] for peer in summary["peers"]) > 0
    return folder / "data"


def test_the_dataset_has_all_three(data: Path) -> None:
    (episode,) = rollgym.load(data)
    game = episode.header.game
    assert game.agents == ("cook_0", "cook_1", "cook_2")
    assert (game.npcs, game.players) == (("cook_1",), ("cook_0", "cook_2"))
    assert game.parameters["npcs"] == {"cook_1": {"policy": "echo", "parameters": {"units": 24}, "seed": 4}}
    assert len(episode.header.participants) == 2
    assert episode.input_source.tolist() == [[0, 2, 0]] * 90
    for agent in game.agents:
        assert len(episode.observations[agent]["cooks"]) == 91
        assert len(set(episode.actions[agent].tolist())) > 3
        assert episode.rewards[agent].shape == (90,)


def test_verify_plays_the_npc_again_and_finds_an_altered_action(data: Path, tmp_path: Path) -> None:
    found = json.loads(CliRunner().invoke(app, ["verify", str(data), "--json"]).stdout)
    assert (found["episodes"], found["failed"]) == (1, 0)
    (path,) = (data / "episodes").rglob("canonical.parquet")
    table = pq.read_table(path)
    place = table.schema.get_field_index("actions/cook_1")
    actions: list[Any] = table["actions/cook_1"].to_pylist()
    actions[40] = [(actions[40][0] + 1) % 6]
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(actions, field.type)), tmp_path / "altered.parquet")
    done = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert done.exit_code == 1
    assert "actions/cook_1" in done.output
    assert "40" in done.output
