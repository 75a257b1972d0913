"""A prediction rule of one's own is the one that predicts in a run of real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rollgym
from rollgym.cli import app

EXPERIMENT = """
experiment:
  game: {id: drift}
  play: {fps: 60, frame_limit: 60, input_delay: 0}
server: {port: 0}
bots: [{policy: random_hold, seed: 5}, {policy: random_hold, seed: 6}]
network: {latency: 40ms}
prediction: own_rules:five
"""


def test_run_plays_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_rules.py").write_text("def five(history, frame):\n    return b'\\x05'\n")
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    done = CliRunner().invoke(app, ["run", "my.yaml", "--data", "data", "--json"])
    sys.modules.pop("own_rules", None)
    assert done.exit_code == 0, done.output
    assert [(e["frames"], e["verdict"]) for e in json.loads(done.stdout)["episodes"]] == [(60, "verified")]
    (episode,) = rollgym.load("data")
    assert {event.predicted for own in episode.own_parts.values() for event in own.rollbacks} == {b"\x05"}
    for player in episode.provenance["players"].values():
        assert player["policy"]["prediction"]["name"] == "own_rules:five"
