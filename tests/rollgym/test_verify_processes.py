"""``verify`` plays games in processes of their own: what they do to their process is not its end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from rollgym.dataset.verify import verify_files
from tests.rollgym.stored import changed, play, write_export

DEADLY = """
import os
from rollgym.games.builtin.drift.rules import Drift

class Deadly(Drift):
    def __init__(self, **parameters):
        print("a game says something, without a newline", end="", flush=True)
        os.abort()
"""


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_files_are_found_whatever_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.chdir(tmp_path)
    good = write_export(tmp_path, play("drift", frames=20)[0][0])
    places = [Path("good.parquet"), Path("also good.parquet"), Path("bad.parquet")]
    for place in places[:2]:
        shutil.copy(good, place)
    places[2].write_bytes(b"half a file")
    found = {result.path: result.ok for result in verify_files(places, jobs)}
    assert found == {os.fspath(place): place.name != "bad.parquet" for place in places}


def test_a_game_that_ends_its_process_is_not_checked_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly_game.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    export = play("drift", frames=20)[0][0]
    write_export(tmp_path, export)
    game = msgspec.structs.replace(export.header.game, id="deadly_game:Deadly", parameters={})
    (tmp_path / "other").mkdir()
    write_export(tmp_path / "other", changed(export, game=game))
    paths = [Path("episode_000.player_0.parquet"), Path("other/episode_000.player_0.parquet")]
    found = {
        result.path: result for result in verify_files(paths, 2, frozenset({"deadly_game:Deadly"}), any_version=True)
    }
    good, dead = (found[os.fspath(path)] for path in paths)
    assert good.ok
    assert (dead.ok, dead.checked) == (False, False), dead.detail
    assert "cannot be played here: verify_file: 2 workers died of it: it was ended by SIGABRT" in dead.detail
