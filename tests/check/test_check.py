"""``rollgym check``: each broken environment is caught, and the cause is named."""

from __future__ import annotations

import json
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from rollgym.checking.cost import largest_window
from rollgym.checking.safety import Check, Report, check
from rollgym.checking.trace import flat, state_difference
from rollgym.cli import app
from rollgym.games.errors import GameError
from tests.adapters import broken
from tests.check.findings import findings, json_findings

BROKEN = "tests.adapters.broken:"


def run(name: str, **options: Any) -> Report:
    return check(BROKEN + name, frames=50, **{"elsewhere": False, **options})


def failures(report: Report) -> dict[str, Check]:
    return {found.code: found for found in report.checks if not found.ok}


def test_a_sound_environment_passes_everything() -> None:
    heard: list[Check] = []
    report = run("Sound", elsewhere=True, said=heard.append)
    assert report.ok, failures(report)
    assert report.checks == heard
    assert [found.name for found in heard] == [
        "reset and the same actions",
        "wall time",
        "global random state",
        "random numbers of the system",
        "rollback by 1, 2, 8 frames",
        "two instances in one process",
        "another process, another PYTHONHASHSEED",
    ]
    assert (report.frames, report.episodes, report.snapshot) == (50, 2, "copy")
    # That a call took seconds is a matter of what else the machine does.
    assert [found.code for found in report.findings if not found.code.startswith("slow_")] == []
    assert report.rollbacks > 100
    assert report.cost is not None
    assert report.cost.state_bytes > 100
    assert report.version.startswith("2+source-")


ROLLBACK, SYSTEM, REPEATED, INSTANCES = "rollback", "unseeded", "repetition", "instances"


@pytest.mark.parametrize(
    ("name", "failed", "path", "cause"),
    [
        ("GlobalRandom", "global_random", "env.place[0]", "generator of random, "),
        ("NumpyGlobalRandom", "global_random", "env.place[0]", "generator of numpy.random, "),
        ("WallTime", "clock", "env.place[0]", "reads the clock"),
        ("ModuleState", ROLLBACK, "env.place[0]", "tests.adapters.broken._MOVES changed"),
        ("ClassState", ROLLBACK, "env.place[0]", "tests.adapters.broken.ClassState.count changed"),
        ("FreshCopies", ROLLBACK, "left[0]", "EzPickle"),
        ("HiddenCHandle", ROLLBACK, "env.place[0]", "{snapshot: replay} was tried as well, and holds"),
        ("HourOfDay", "clock", "env.place[0]", "reads the clock (at broken.py:"),
        ("DayOfWeek", "clock", "env.place[0]", "reads the clock (at broken.py:"),
        ("Formatted", "clock", "env.place[0]", "reads the clock (at broken.py:"),
        ("Bytes", SYSTEM, "env.place[0]", "that no seed of the episode decides"),
        ("Secret", SYSTEM, "env.place[0]", "secrets, uuid4 (at broken.py:"),
        ("Named", SYSTEM, "env.place[0]", "secrets, uuid4 (at broken.py:"),
        ("Unseeded", SYSTEM, "env.place[0]", "generator without a seed"),
        ("CachedCounter", REPEATED, "env.place[0]", "broken.CachedCounter.first changed"),
        (
            "MutableDefault",
            REPEATED,
            "env.place[0]",
            "the defaults of tests.adapters.broken.MutableDefault.luck() changed",
        ),
        ("Singleton", INSTANCES, "env.place[0]", "share state: tests.adapters.broken._WORLD changed"),
        ("OnlyOne", INSTANCES, "the second instance", "the simulator has several"),
        ("CHandle", "snapshot", "env.counter", "get_state() and set_state(state)"),
        ("Generator", "snapshot", "env.script", "running generator"),
        ("sticky_pong", "snapshot", "env.aec_env.env.env.env.ale", "sticky actions"),
    ],
)
def test_a_broken_environment_is_caught_and_named(name: str, failed: str, path: str, cause: str) -> None:
    report = run(name)
    assert not report.ok
    found = failures(report)
    assert next(iter(found)) == failed
    assert found[failed].path == path
    assert cause in found[failed].cause
    if failed == REPEATED:
        assert list(found) == [REPEATED]  # all the rest builds on it: nothing is guessed
        assert "clock" not in found[REPEATED].cause
    if failed not in ("snapshot", INSTANCES):
        assert found[failed].frame == 0
        assert found[failed].first != found[failed].again
    if failed not in ("snapshot", REPEATED, INSTANCES) and name not in ("HourOfDay", "DayOfWeek", "Formatted"):
        # What cannot be rolled back fails there too, for the same reason; a coarse clock does not show it.
        assert cause in found[ROLLBACK].cause
    assert [(f.code, f.severity) for f in findings(report) if f.severity == "fails"] == [
        (c.code, "fails") for c in found.values()
    ]


@pytest.mark.parametrize(
    ("name", "path", "cause"),
    [
        ("SetOrder", "env.place", "depends on PYTHONHASHSEED"),
        ("UnseededStart", "env.wind", "such as a generator without a seed"),
        ("RemembersCalls", "env.place", "such as a generator without a seed"),
        ("HostName", "env.place", "depends on the name of the machine"),
        ("ProcessNumber", "env.place", "the process asks for its number (at broken.py:"),
    ],
)
def test_what_differs_between_processes_is_caught_and_named(name: str, path: str, cause: str) -> None:
    found = failures(run(name, elsewhere=True))
    assert list(found) == ["process"]
    (only,) = found.values()
    assert only.path is not None
    assert only.path.startswith(path)
    assert cause in only.cause


def test_a_cause_is_named_only_if_an_experiment_showed_it(tmp_path: Path) -> None:
    (only,) = failures(run("CachedOnDisk", elsewhere=True, parameters={"path": str(tmp_path / "plan")})).values()
    assert only.code == REPEATED
    assert "two new processes agree with each other, but not with what was given at first" in only.cause
    # Without experiments in other processes nothing is known.
    (only,) = failures(run("CachedOnDisk", parameters={"path": str(tmp_path / "other")})).values()
    assert only.cause.startswith("something outlives reset(), or decides without a seed")


def test_two_causes_are_not_mistaken_for_one() -> None:
    found = failures(run("Both"))
    assert "more than one thing that no snapshot contains" in found[ROLLBACK].cause
    assert "tests.adapters.broken._MOVES" in found[ROLLBACK].cause


def test_the_way_out_that_is_named_works() -> None:
    assert run("FreshCopies", parameters={"adapter": {"snapshot": "copy"}}).ok
    replayed = run("HiddenCHandle", parameters={"adapter": {"snapshot": "replay"}})
    assert replayed.ok
    assert replayed.snapshot == "replay"
    assert "plays the episode again" in replayed.notes[0]


def test_policies_are_played_beside_random_actions() -> None:
    report = run("Sound", policies=["random_hold", "idle"])
    assert report.ok
    assert (report.frames, report.episodes) == (150, 6)
    with pytest.raises(GameError, match="tracker plays pong only"):
        run("Sound", policies=["tracker"])


def test_it_leaves_no_trace() -> None:
    random.seed(5)
    np.random.seed(5)
    clocks = (time.time, time.monotonic_ns, os.urandom, datetime.__dict__["now"])
    run("GlobalRandom")
    assert (random.random(), np.random.random()) == (random.Random(5).random(), np.random.RandomState(5).random())
    assert (time.time, time.monotonic_ns, os.urandom, datetime.__dict__["now"]) == clocks
    assert abs(datetime.now(UTC).timestamp() - time.time()) < 3600


@pytest.mark.parametrize("game", ["drift", "kitchen", "tictactoe"])
def test_games_with_a_name_pass(game: str) -> None:
    report = check(game, frames=60, elsewhere=False, window=4)
    assert report.ok, failures(report)
    assert report.checks[-2].name == "rollback by 1, 2, 4 frames"


def test_the_largest_window() -> None:
    assert largest_window(1000, 100, 50, 50) == 8  # 100 + 50 for the frame itself, 50 to load, 8 times 100
    assert largest_window(250, 100, 60, 50) == 0
    assert largest_window(140, 100, 0, 50) == -1
    assert largest_window(1e9, 1, 0, 0) == 3600


def test_differences_have_the_path_of_the_first_leaf() -> None:
    one = {"a": [1, {"b": [2, 3]}], "c": np.array([[1.0, 2.0]])}
    assert state_difference(one, {"a": [1, {"b": [2, 3]}], "c": np.array([[1.0, 2.5]])}) == ("c[0, 1]", "2.0", "2.5")
    assert state_difference(one, {"a": [1, {"b": [2, 4]}], "c": one["c"]}) == ("a[1].b[1]", "3", "4")
    assert state_difference(one, one) is None
    assert state_difference({"a": 1}, {"a": 1, "b": 2}) == ("b", "'<absent>'", "2")
    assert list(flat(one)) == ["a[0]", "a[1].b", "c"]


# -- the command -------------------------------------------------------------------------------------------------------


def rollgym(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *(str(argument) for argument in arguments)], env={"COLUMNS": "200"})


def test_the_command_says_what_is_wrong_and_exits_1() -> None:
    done = rollgym(BROKEN + "CHandle")
    assert done.exit_code == 1
    assert "env.counter is ctypes.c_" in done.stdout
    assert "adapter={snapshot: replay}" in done.stdout


def test_an_environment_that_raises_is_a_finding() -> None:
    line = next(n for n, text in enumerate(Path(broken.__file__).read_text().splitlines(), 1) if "oops in" in text)
    said = f"RuntimeError: oops in my env (broken.py:{line})"
    result = CliRunner().invoke(app, ["check", BROKEN + "Raising"])
    assert result.exit_code == 1
    assert f"FAILED  plays: {said}\n" in result.stdout
    result = CliRunner().invoke(app, ["check", BROKEN + "Raising", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["ok"]
    assert [(c["name"], c["ok"], c["detail"]) for c in report["checks"]] == [("plays", False, said)]
    assert [(f["code"], f["severity"], f["frame"]) for f in json_findings(report)] == [("raised", "fails", 6)]


def test_the_command_prints_json() -> None:
    done = rollgym("pong", "--frames", 40, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["cost"]["step"] > 0
    assert len(report["checks"]) == 7
    assert report["verdict"] == "safe"
    assert [(f["code"], f["severity"]) for f in json_findings(report)] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), "one of drift, pong"),
        (("no.such.module:thing",), "No module named"),
        ((BROKEN + "Nothing",), "Nothing"),
        ((BROKEN + "Sound", "--param", "width=3"), "unexpected keyword argument"),
        ((BROKEN + "Sound", "--param", "adapter={snapshot: magic}"), "one of auto, native, copy, replay"),
        (("pong", "--policy", "chef"), "chef"),
        (("pong", "--frames", 0), "--frames"),
    ],
)
def test_bad_usage_exits_2(arguments: tuple[object, ...], words: str) -> None:
    done = rollgym(*arguments)
    assert done.exit_code == 2, done.output
    assert words in done.output
