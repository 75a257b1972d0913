"""rollgym simulate: its results are a dataset like any other, and what a game raises is one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import rollgym
from rollgym.cli import app
from rollgym.protocol.seeds import match_seed
from rollgym.server.storage.keys import is_match_id

EXPERIMENT = """
experiment:
  name: pilot
  condition: rtt_80
  seed: 11
  matches: 2
  game: {id: pong, parameters: {points: 1}}
  play: {episodes: 2, frame_limit: 60, input_delay: 1}
bots: [{policy: random_hold, seed: 5}, {policy: random}]
network: {latency: 40ms}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def done(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two matches of an experiment file, and one more of flags alone."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "my.yaml").write_text(EXPERIMENT)
    found = done("simulate", folder / "my.yaml", "--out", folder / "data")
    assert found["verdicts"] == ["verified"] * 4
    assert found["rollbacks"] > 10
    assert found["frames"] == found["confirmed_frames"] == sum(sum(m["frames"]) for m in found["matches"]) == 240
    assert (found["experiment"], found["condition"]) == ("pilot", "rtt_80")
    found = done("simulate", "--game", "drift", "--frames", 30, "--latency", "40ms", "--out", folder / "data")
    assert found["verdicts"] == ["verified"]
    return folder / "data"


def test_every_match_has_an_id_of_its_own(data: Path) -> None:
    matches = sorted(path.name for path in (data / "episodes").iterdir())
    assert len(matches) == 3
    assert all(map(is_match_id, matches))
    pilot = list(rollgym.load(data, experiment="pilot"))
    assert sorted({e.header.match_seed for e in pilot}) == sorted([11, match_seed(11, 1)])
    assert len({e.header.seed for e in pilot}) == 4


def test_they_are_a_dataset_like_a_servers(data: Path, tmp_path: Path) -> None:
    episodes = list(rollgym.load(data))
    assert [episode.verdict for episode in episodes] == ["verified"] * 5
    assert len(list(rollgym.load(data, verdict="verified", experiment="pilot", condition="rtt_80"))) == 4
    assert all(sorted(episode.own_parts) == [0, 1] for episode in episodes)
    verified = done("verify", data, "--jobs", 1)
    assert (verified["episodes"], verified["failed"], verified["not_checked"]) == (5, 0, 0)
    exported = done("export", data, "--format", "csv", "--out", tmp_path / "csv")
    assert (exported["episodes"], len(exported["files"]), exported["left_out"]) == (5, 20, {})
    assert run("compare", data, tmp_path / "csv").exit_code == 0
    shown = run("replay", episodes[0].path.parent, "--frames", "0:3")
    assert shown.exit_code == 0, shown.output


def test_they_say_where_they_come_from(data: Path) -> None:
    episode = next(rollgym.load(data, experiment="pilot"))
    found = episode.provenance
    assert (found["experiment"], found["condition"], found["verdict"]) == ("pilot", "rtt_80", "verified")
    assert (episode.header.settings.input_delay, episode.header.settings.frame_limit) == (1, 60)
    assert found["bots"] == {"0": "random_hold", "1": "random"}
    policy = found["players"]["left"]["policy"]
    assert (policy["name"], policy["network"]["forward"]) == ("random_hold", {"latency": 0.04})
    assert {e.provenance["players"]["left"]["policy"]["seed"] for e in rollgym.load(data, experiment="pilot")} == {
        5,
        match_seed(5, 1),
    }
    assert set(found["digests"].values()) == {found["digests"]["0"]}
    assert {"python", "rollgym"} <= set(found["client_software"][0])


def test_the_same_plan_gives_the_same_bytes_and_another_one_another_match(data: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    again = done("simulate", "--config", tmp_path / "my.yaml", "--out", tmp_path / "data")
    for group in again["exports"]:
        for name in group:
            assert Path(name).read_bytes() == (data / Path(name).relative_to(tmp_path / "data")).read_bytes()
    ids = {match["match"] for match in again["matches"]}
    for flags in (
        ("--seed", 12),
        ("--frames", 59),
        ("--policy", "random"),
        ("--latency", "41ms"),
        ("--pause", "0:1:1"),
    ):
        other = done("simulate", tmp_path / "my.yaml", *flags, "--matches", 1)
        assert other["verdicts"] == ["verified"] * 2
        assert not {match["match"] for match in other["matches"]} & ids, flags


def test_flags_replace_what_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    flags = ("--game", "drift", "--episodes", 1, "--frames", 20, "--input-delay", 3, "--matches", 1)
    found = done("simulate", tmp_path / "my.yaml", *flags, "--out", tmp_path / "data")
    (episode,) = rollgym.load(tmp_path / "data")
    assert (episode.header.game.id, episode.frames, episode.header.settings.input_delay) == ("drift", 20, 3)
    assert (found["condition"], episode.header.match_seed) == ("rtt_80", 11)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "nothing to play: name a game (--game pong) or an experiment file"),
        (("nope.yaml",), "nope.yaml: cannot be read"),
        (("ci", "--config", "pong"), "--config: pong: there is an experiment file already (ci)"),
        (("--game", "pong", "--param", "points=x"), "pong.points = 'x': expected"),
        (("--game", "broken_env:wide"), "an action of agent_1 takes 24000 bytes: expected at most"),
        (("--game", "pong", "--frames", "2000000"), "experiment.play.frame_limit: 2000000: expected at most 1000000"),
        (("--game", "broken_env:refuses"), "no level (broken_env.py:11)"),
        (("--game", "pong", "--loss", "100%"), "--loss: 1.0: expected less than 100%: no packet would ever arrive"),
    ],
)
def test_what_cannot_be_played_is_said_first(
    arguments: tuple[str, ...], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_env.py").write_text(BROKEN)
    result = run("simulate", *arguments, "--out", "data")
    sys.modules.pop("broken_env", None)
    assert result.exit_code == 2, result.output
    assert text in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


BROKEN = """\
from tests.adapters.toys import Together, np, spaces

GAME_FAILS_AT = 12


def make(**kwargs):
    return Failing()


def refuses():
    raise OSError("no level")


class Failing(Together):
    steps = 0

    def step(self, actions):
        self.steps += 1
        if self.steps == GAME_FAILS_AT:
            raise RuntimeError("out of levels")
        return super().step(actions)


def policy(observation):
    raise LookupError("no idea")


def wide():
    env = Together()
    env.action_space = spaces.Tuple([spaces.Box(-1, 1, (3000,), np.float64)] * 2)
    return env
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment that raises in its twelfth step: ``broken_env:make``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "broken_env.py").write_text(BROKEN)
    yield tmp_path / "broken_env.py"
    sys.modules.pop("broken_env", None)


def test_what_a_game_raises_is_one_line_and_its_canonical_prefix_is_kept(broken: Path) -> None:
    result = run("simulate", "--game", "broken_env:make", "--latency", "50ms", "--policy", "random", "--out", "data")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert "rollgym: player 0: RuntimeError: out of levels (broken_env.py:20)" in lines
    assert all(line.startswith("rollgym: player ") for line in lines)
    (episode,) = rollgym.load("data")
    assert (episode.verdict, episode.header.status) == ("partial", "error")
    assert 0 < episode.frames <= 11
    assert f"episode 0: partial ({episode.extra['verdict_detail']})" in result.stdout
    assert run("verify", "data", "--game", "broken_env:make").exit_code == 0
    assert run("export", "data", "--format", "csv", "--out", "csv", "--verdict", "partial").exit_code == 0


def test_what_a_policy_raises_is_one_line_too(broken: Path) -> None:
    flags = ("--policy", "broken_env:policy", "--policy", "random", "--frames", 9)
    result = run("simulate", "--game", "tests.adapters.toys:Together", *flags)
    assert result.exit_code == 1
    assert "rollgym: player 0: LookupError: no idea (broken_env.py:25)" in result.stderr.splitlines()
    assert "Traceback" not in result.output


@pytest.mark.parametrize("verb", ["verify", "replay"])
def test_a_game_that_raises_when_it_is_played_again(broken: Path, verb: str) -> None:
    broken.write_text(BROKEN.replace("= 12", "= 1000"))
    assert run("simulate", "--game", "broken_env:make", "--frames", 30, "--out", "data").exit_code == 0
    sys.modules.pop("broken_env", None)
    broken.write_text(BROKEN)
    (facts,) = Path("data").rglob("canonical.parquet")
    flags = ("--any-version",) if verb == "verify" else ("--gif", "a.gif")
    result = run(verb, facts if verb == "verify" else facts.parent, "--game", "broken_env:make", *flags)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    if verb == "verify":
        assert "RuntimeError: out of levels (broken_env.py:20)" in result.stdout


def test_games_says_what_an_environment_raises(broken: Path) -> None:
    for name, text in (
        ("refuses", "OSError: no level (broken_env.py:11)"),
        ("make", "out of levels (broken_env.py:20)"),
    ):
        result = run("games", f"broken_env:{name}")
        assert result.exit_code == 2
        assert text in result.stderr
        assert "Traceback" not in result.output


def test_the_folder_of_a_server_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"")
    told = run("simulate", "--game", "pong", "--param", "points=1", "--out", tmp_path)
    assert told.exit_code == 2
    assert "the data folder of a server" in told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue.sqlite"]
