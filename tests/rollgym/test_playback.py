"""rollgym replay: what it shows is what was played, and what the player saw."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from rich.console import Console
from typer.testing import CliRunner, Result

from rollgym.cli import app
from rollgym.client_sim.network_model import CONDITIONS
from rollgym.dataset import playback_gif
from rollgym.dataset.playback import PlaybackError, find_recording, game_of, play_back
from rollgym.dataset.playback_terminal import Screen, look, stride_of
from rollgym.dataset.playback_terminal import play as play_in_terminal
from rollgym.games.contract import Game
from rollgym.protocol.episode.export import Export
from tests.rollgym.stored import MATCH, OTHER, play, write_export

NPC = {"cooks": 3, "npcs": {"cook_2": {"policy": "cook"}}}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "200"})


def state(game: Game) -> int:
    return game.digest(game.save())


def written(folder: Path, export: Export) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_export(folder, export)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both players' files of an episode of Pong."""
    (group,) = play(frames=150, link=CONDITIONS["constant_100"], input_delay=0)
    folder = tmp_path_factory.mktemp("playback")
    return [written(folder, export) for export in group]


@pytest.mark.parametrize(
    ("game", "parameters", "network", "delay"),
    [
        ("pong", None, "constant_100", 0),
        ("drift", None, "terrible", 1),
        ("kitchen", NPC, "mobile_3g", 0),
    ],
)
def test_every_wrong_observation_of_the_record_is_shown_exactly(
    tmp_path: Path, game: str, parameters: dict[str, object] | None, network: str, delay: int
) -> None:
    (group,) = play(game, frames=200, link=CONDITIONS[network], parameters=parameters, input_delay=delay)
    for export in group:
        recording = find_recording(written(tmp_path, export), None)
        moments = list(play_back(recording, game_of(recording), state))
        assert all(moment.exact for moment in moments)
        seen = set(export.own.columns["seen_frame"].array().tolist())
        assert len(seen) > 20
        guessed = {moment.frame for moment in moments if moment.became is not None}
        assert seen <= guessed  # an observation can be right though the state is not
        assert sum(len(moment.rollbacks) for moment in moments) == len(export.own.rollbacks) > 5
        # The truth is what was recorded.
        digests = export.canonical.columns["state_digest"].array()
        assert [moment.truth for moment in moments] == digests.tolist()


def test_a_rollback_ends_what_was_shown(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    moments = list(play_back(recording, game_of(recording), state))
    changed = [moment for moment in moments if moment.rollbacks and moment.before != moment.after]
    assert len(changed) > 5
    for one, two in pairwise(moments):
        if not one.rollbacks and one.shown is not None and not two.rollbacks:
            assert two.inputs is None or two.shown is not None or two.truth == two.before


def test_a_record_that_contradicts_itself_is_not_called_exact(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    assert recording.own is not None
    none_known = msgspec.structs.replace(recording.own, rollbacks=[])
    object.__setattr__(recording, "own", none_known)
    moments = list(play_back(recording, game_of(recording), state))
    assert all(moment.shown is None for moment in moments)
    assert {m.frame for m in moments if not m.exact} == set(none_known.columns["seen_frame"].array().tolist())


def test_rollbacks_that_cannot_have_been_are_passed_over(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    assert recording.own is not None
    event = recording.own.rollbacks[0]
    strange = [
        msgspec.structs.replace(event, player=7),
        msgspec.structs.replace(event, to_frame=-3),
        msgspec.structs.replace(event, to_frame=10**9, at_frame=10**9 + 2),
        msgspec.structs.replace(event, predicted=b"\xff\xff"),
    ]
    object.__setattr__(recording, "own", msgspec.structs.replace(recording.own, rollbacks=strange))
    assert len(list(play_back(recording, game_of(recording), state))) == 151


def test_text_names_rollbacks_and_shows_before_and_after(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    assert recording.own is not None
    event = next(e for e in recording.own.rollbacks if e.at_frame < 140)
    done = run(exports[0], "--frames", f"{event.at_frame}:{event.at_frame}")
    assert done.exit_code == 0
    names = ("stay", "up", "down")
    frames = f"{event.depth} frame{'s' if event.depth > 1 else ''}"
    guess, fact = names[event.predicted[0]], names[event.actual[0]]
    assert f"rolled back {frames}: player 1 (right) predicted {guess}, played {fact}" in done.stdout
    assert done.stdout.count(f"seen by left, frame {event.at_frame} of 150") == 2
    assert done.stdout.count("a guess, not yet known to be wrong") == 1


def test_an_episode_of_a_data_folder(data: Path) -> None:
    folder = data / "episodes" / MATCH / "episode_000000"
    assert "seen by left, frame 3 of" in run(folder, "--frames", "3:3").stdout
    assert "seen by right, frame 3 of" in run(folder, "--frames", "3:3", "--player", 1).stdout
    assert "seen by right" in run(folder / "canonical.parquet", "--player", 1, "--frames", "3:3").stdout
    ended = run(data / "episodes" / OTHER, "--frames", "60:60")
    assert "the end" in ended.stdout


def test_a_gif_shows_the_rollback_in_red(exports: list[Path], tmp_path: Path) -> None:
    gif = tmp_path / "episode.gif"
    done = run(exports[0], "--gif", gif, "--frames", "0:90")
    assert done.exit_code == 0, done.output
    assert f"{gif}: 31 pictures," in done.stdout  # every third of 91 frames: 20 a second
    calm: list[NDArray[np.int64]] = []
    flashing: list[NDArray[np.int64]] = []
    with Image.open(gif) as pictures:
        assert pictures.info["duration"] == 50
        for picture in ImageSequence.Iterator(pictures):
            pixels = np.asarray(picture.convert("RGB")).astype(np.int64)
            (flashing if pixels[0, 0, 0] > 200 else calm).append(pixels)
    assert len(calm) + len(flashing) == 31
    assert calm
    assert len(flashing) > 10
    # Inside of the court red is found while it flashes only: the shadow of the wrong guess.
    red = [((p[8:380, 8:510, 0] > 150) & (p[8:380, 8:510, 1] < 90) & (p[8:380, 8:510, 2] < 90)).sum() for p in flashing]
    assert max(red) > 50
    assert all(
        ((p[8:380, 8:510, 0] > 200) & (p[8:380, 8:510, 1] < 90) & (p[8:380, 8:510, 2] < 90)).sum() == 0 for p in calm
    )


def test_what_cannot_be_shown_is_said(data: Path, exports: list[Path], tmp_path: Path) -> None:
    folder = data / "episodes" / MATCH
    for arguments, reason in (
        ((tmp_path / "none",), "no such file or folder"),
        ((folder,), "episodes in it, expected one"),
        ((folder / "episode_000000", "--player", 5), "no own part of player 5, expected one of [0, 1]"),
        ((exports[0], "--player", 1), "no episode of player 1"),
        ((next(data.rglob("player_0.parquet")),), "one player's own part, which has no frames: name its folder"),
        ((exports[0], "--frames", "5"), "expected FROM:TO"),
        ((exports[0], "--frames", "900:", "--gif", tmp_path / "a.gif"), "no frame to show"),
        ((exports[0], "--gif", tmp_path / "none" / "a.gif", "--frames", "0:3"), "cannot be written"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_gif_too_long_is_refused(exports: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playback_gif, "MOST_PICTURES", 5)
    done = run(exports[0], "--gif", tmp_path / "a.gif")
    assert done.exit_code == 2
    assert "more than 5 pictures: choose --frames 0:14" in done.stderr


def test_a_game_from_elsewhere_is_not_imported(exports: list[Path], tmp_path: Path) -> None:
    recording = find_recording(exports[0], None)
    game = msgspec.structs.replace(recording.header.game, id="tests.rollgym.test_playback:explode")
    object.__setattr__(recording, "header", msgspec.structs.replace(recording.header, game=game))
    with pytest.raises(PlaybackError, match="trust it with --game tests"):
        game_of(recording)


@pytest.mark.parametrize("parameters", [{}, {"render_mode": "rgb_array"}, {"render_mode": "ansi", "length": 30}])
def test_an_environment_of_ones_own_is_made_to_draw(tmp_path: Path, parameters: dict[str, object]) -> None:
    name = "tests.rollgym.drawn:Drawn"
    ((export, _),) = play(name, frames=20, parameters=parameters)
    file = written(tmp_path, export)
    done = run(file, "--game", name, "--frames", "3:4")
    assert done.exit_code == 0, done.output
    assert "moved 3 times" in done.stdout
    done = run(file, "--game", name, "--gif", tmp_path / "a.gif")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "a.gif") as gif:
        assert getattr(gif, "n_frames", 1) > 10


def test_what_an_environment_needs_to_be_shown_is_said(tmp_path: Path) -> None:
    name = "tests.adapters.broken:Sound"
    ((export, _),) = play(name, frames=10)
    file = written(tmp_path, export)
    for arguments in ((), ("--gif", tmp_path / "a.gif")):
        done = run(file, "--game", name, *arguments)
        assert done.exit_code == 2
        assert 'construct it with render_mode="rgb_array" or "ansi"' in done.stderr


def test_a_game_of_another_version_is_refused(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    game = msgspec.structs.replace(recording.header.game, version="0")
    object.__setattr__(recording, "header", msgspec.structs.replace(recording.header, game=game))
    with pytest.raises(PlaybackError, match=r"game\.version was '0', here it is '1'"):
        game_of(recording)


def test_step_waits_for_a_key_and_q_ends(exports: list[Path]) -> None:
    done = CliRunner().invoke(app, ["replay", str(exports[0]), "--step"], input="  q", env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert [n for n in range(10) if f"frame {n} of 150" in done.stdout] == [0, 1, 2]


def test_a_terminal_gets_every_picture_in_time_and_rollbacks_in_red(exports: list[Path]) -> None:
    recording = find_recording(exports[0], None)
    game = game_of(recording)
    console = Console(force_terminal=True, file=StringIO(), width=100, height=60, color_system="standard")
    moments = play_back(recording, game, look, every=stride_of(1000))
    play_in_terminal(console, Screen(recording, game), moments, fps=1000)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert recording.own is not None
    assert "frame 0 of 150" in text
    for event in recording.own.rollbacks:
        assert f"frame {min(event.at_frame, 150)} of 150" in text
    assert "\x1b[1;31mrolled back" in text
