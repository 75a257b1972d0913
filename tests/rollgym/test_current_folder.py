"""A game that changes the current folder moves nothing of ours, where it runs in the process of the command as well."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import rollgym
from rollgym.cli import app

WANDERS = """
import os, tempfile
import numpy as np
from tests.adapters.toys import Together


class Wanders(Together):
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode
        os.chdir(tempfile.gettempdir())

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


def make(render_mode=None):
    return Wanders(render_mode)
"""

EXPERIMENT = """
experiment: {seed: 3, game: {id: "wanders:make"}, play: {frame_limit: 40}}
bots: [{policy: scripted, parameters: {path: script.json}}, {policy: random_hold}]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "here"
    folder.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / "wanders.py").write_text(WANDERS)
    (folder / "script.json").write_text(json.dumps([1, 2, 0]))
    (folder / "my.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(folder)
    yield folder
    sys.modules.pop("wanders", None)
    assert list(elsewhere.iterdir()) == []


def run(monkeypatch: pytest.MonkeyPatch, here: Path, *arguments: str, elsewhere: bool = False) -> Result:
    """A command that is given in ``here``. ``elsewhere``: it makes its game in a process of its own."""
    monkeypatch.chdir(here)
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    assert (Path.cwd() == here) == elsewhere, "the game was not made where it was thought to be"
    return result


def test_files_are_where_they_were_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(monkeypatch, here, "simulate", "my.yaml", "--out", "data").stdout
    (folder,) = (here / "data" / "episodes").iterdir()
    assert f"dataset  data/episodes/{folder.name}" in said
    (episode,) = rollgym.load(here / "data")
    assert (episode.verdict, episode.frames) == ("verified", 40)
    policy = episode.own_parts[0].policy
    assert policy["parameters"] == {"actions": None, "path": "script.json", "repeat": False}
    assert "file_blake3" in policy
    assert episode.own_parts[1].policy["parameters"] == {"hold": 4}

    (here / "data" / "catalogue.sqlite").touch()  # which verify looks at when it has played: an empty one is none
    said = run(monkeypatch, here, "verify", "data", "--jobs", "1", "--game", "wanders:make", elsewhere=True).stdout
    assert "all 1 agree" in said
    assert "catalogue" in said

    shown = f"data/episodes/{folder.name}/episode_000000"
    run(monkeypatch, here, "replay", shown, "--game", "wanders:make", "--gif", "a.gif", "--frames", "0:3")
    assert (here / "a.gif").read_bytes().startswith(b"GIF")
