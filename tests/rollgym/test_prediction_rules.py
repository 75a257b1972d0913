"""A prediction rule is chosen by its name, in the experiment file or with a flag, and it is the one that predicts."""

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
from rollgym.client_sim.peer.prediction_rules import BadPrediction, checked, find_rule
from rollgym.client_sim.rollback.input_queue import InputQueue
from rollgym.client_sim.rollback.prediction.catalogue import PREDICTORS
from rollgym.client_sim.rollback.prediction.rule import InputHistory
from rollgym.games.errors import GameError

EXPERIMENT = """
experiment:
  seed: 3
  game: {id: drift}
  play: {frame_limit: 90, input_delay: 0}
bots: [{policy: random_hold, seed: 5}, {policy: random_hold, seed: 6}]
network: {latency: 40ms}
server: {port: 0}
"""

RULES = '''
def five(history, frame):
    """Nothing that a bot holds for long: nearly every prediction is wrong."""
    return b"\\x05"

def short(history, frame):
    return b""

def no_action(history, frame):
    return b"\\xff"

def number(history, frame):
    return 5

def one(history):
    return history.default

class Rule:
    pass
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_rules.py").write_text(RULES)
    (tmp_path / "broken_rules.py").write_text("1 / 0\n")
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    yield tmp_path
    sys.modules.pop("own_rules", None)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


def done(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def policies(data: str) -> list[dict[str, Any]]:
    """What the records of the one episode say of each player's policy."""
    (episode,) = rollgym.load(data)
    return [player["policy"] for player in episode.provenance["players"].values()]


def predicted(data: str) -> set[bytes]:
    """What was predicted in the one episode where a prediction was wrong."""
    (episode,) = rollgym.load(data)
    assert len(episode.own_parts) == 2
    return {event.predicted for own in episode.own_parts.values() for event in own.rollbacks}


def test_a_rule_of_ones_own_in_the_file_predicts_and_is_in_the_record(folder: Path) -> None:
    (folder / "my.yaml").write_text(EXPERIMENT + "prediction: own_rules:five\n")
    done("simulate", "my.yaml", "--out", "data")
    assert predicted("data") == {b"\x05"}
    for policy in policies("data"):
        assert policy["prediction"]["name"] == "own_rules:five"
        assert policy["prediction"]["source"].startswith("source-")


@pytest.mark.parametrize("rule", ["own_rules:five", "default_input"])
def test_a_flag_stands_for_the_file(rule: str) -> None:
    done("simulate", "my.yaml", "--prediction", rule, "--out", "data")
    assert predicted("data") == ({b"\x05"} if rule == "own_rules:five" else {b"\x00"})
    assert [policy["prediction"]["name"] for policy in policies("data")] == [rule, rule]


def test_the_default_is_repeat_last_and_leaves_no_trace_of_itself() -> None:
    one = done("simulate", "my.yaml", "--out", "one")
    two = done("simulate", "my.yaml", "--prediction", "repeat_last", "--out", "two")
    for first, second in zip(one["exports"][0], two["exports"][0], strict=True):
        assert Path(first).read_bytes() == Path(second).read_bytes()
    assert not any("prediction" in policy for policy in policies("one"))
    other = done("simulate", "my.yaml", "--prediction", "default_input", "--out", "one")
    assert other["matches"][0]["match"] != one["matches"][0]["match"], "another plan, another match"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("repeat", "expected one of repeat_last, default_input, or package.module:callable"),
        ("own_rules:nothing", "expected a name that is in the module"),
        ("no_such_rules:five", "expected a module that can be imported"),
        ("own_rules:one", "expected a callable that takes a player's history and a frame"),
        ("own_rules:Rule", "not a class"),
        ("broken_rules:five", "ZeroDivisionError"),
    ],
)
def test_a_bad_name_is_refused_before_anything_starts(folder: Path, name: str, said: str) -> None:
    (folder / "my.yaml").write_text(f"{EXPERIMENT}prediction: {name}\n")
    for verb in ("run", "simulate"):
        result = run(verb, "my.yaml")
        assert result.exit_code == 2
        assert result.stderr.startswith("rollgym: my.yaml:9: prediction: "), result.output
        assert name in result.stderr
        assert said in result.stderr
    result = run("simulate", "--game", "drift", "--frames", 9, "--prediction", name)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (folder / "data").exists()


def test_play_refuses_a_name_before_it_asks_the_server() -> None:
    result = run("play", "--url", "http://127.0.0.1:1", "--prediction", "repeat")
    assert result.exit_code == 2
    assert "prediction = 'repeat': expected one of repeat_last" in result.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("short", "own_rules:short predicts b'' for player 1 at frame"),
        ("number", "own_rules:number predicts 5 for player 1 at frame"),
        ("no_action", r"own_rules:no_action predicts b'\xff' for player 1 at frame"),
    ],
)
def test_what_no_player_can_do_ends_the_episode_and_says_which_rule_it_was(name: str, said: str) -> None:
    result = run("simulate", "my.yaml", "--prediction", f"own_rules:{name}")
    assert result.exit_code == 1
    assert said in result.output


def test_a_named_rule_is_not_looked_at_and_any_other_is() -> None:
    history = InputHistory(InputQueue(b"\x00"), 0)
    refuse_all = [lambda value: "refused"]
    for rule in PREDICTORS.values():
        assert checked(rule, refuse_all) is rule
    with pytest.raises(BadPrediction, match=r"own_rules:five predicts b'\\x05' for player 0 at frame 7: refused"):
        checked(find_rule("own_rules:five"), refuse_all)(history, 7)
    with pytest.raises(GameError, match="expected one of"):
        find_rule("")
