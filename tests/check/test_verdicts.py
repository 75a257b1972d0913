"""Three verdicts: safe, not safe, could not be checked; and what else a user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rollgym.checking import beyond
from rollgym.checking.safety import Report, check
from rollgym.checking.supervised import supervised
from rollgym.checking.timing import Stopwatch
from rollgym.cli import app
from rollgym.games.errors import GameError
from tests.check.findings import findings, json_findings

ODD = "tests.adapters.odd:"


def run(name: str, **options: Any) -> Report:
    return check(ODD + name, frames=50, **{"elsewhere": False, **options})


def rollgym(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *(str(argument) for argument in arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", ["SamplesASpace", "ReadOnly", "Small", "stacked"])
def test_there_is_no_false_alarm(name: str) -> None:
    report = run(name, elsewhere=True)
    assert (report.verdict, findings(report)) == ("safe", [])
    assert report.rollbacks > 100


@pytest.mark.parametrize("name", ["ClockByName", "ClockAsDefault"])
def test_the_clock_is_seen_however_it_is_read(name: str) -> None:
    # In a process of its own, before the module binds it under another name.
    report = supervised("tests.adapters.broken:" + name, frames=30)
    assert report.verdict == "not safe"
    failed = {found.code: found for found in report.checks if not found.ok}
    assert list(failed) == ["clock", "rollback", "process"]
    assert all("it reads the clock (at broken.py:" in found.cause for found in failed.values())


def test_only_rollbacks_that_happened_are_claimed() -> None:
    report = run("OneFrame")
    assert report.verdict == "safe"
    assert [found.name for found in report.checks if found.code == "rollback"] == ["rollback by 1 frame"]
    (finding,) = findings(report)
    assert finding.code == "shallow"
    assert "no rollback deeper than 1 happened: the longest episode has 1 frame" in finding.text


@pytest.mark.parametrize(
    ("name", "code", "text", "following"),
    [
        ("WrongInside", "raised", "making it failed: TypeError: object of type 'int' has no len() (odd.py:", ""),
        ("Lacking", "dependency", "a_module_that_nobody_has", "pip install a_module_that_nobody_has"),
        ("NoCartridge", "cartridge", "Unable to find game", "AutoROM"),
        ("WrongReset", "raised", "the reset failed: RuntimeError: no level (odd.py:", ""),
        ("FourValues", "old_interface", "the first step failed", "wrap"),
    ],
)
def test_what_cannot_be_started_could_not_be_checked(name: str, code: str, text: str, following: str) -> None:
    report = run(name)
    assert (report.verdict, report.ok, report.checks) == ("could not be checked", False, [])
    (finding,) = findings(report)
    assert (finding.code, finding.severity) == (code, "unchecked")
    assert text in finding.text
    assert following in finding.next


def test_an_action_that_is_not_allowed_has_a_way_out() -> None:
    report = run("Masked")
    assert report.verdict == "not safe"
    assert "illegal move" in report.checks[-1].detail
    assert "an action that is not allowed must do nothing" in report.checks[-1].cause


def test_the_command_exits_2_for_what_could_not_be_checked() -> None:
    done = rollgym(ODD + "Before")
    assert done.exit_code == 2
    assert "expected the API of gymnasium 0.26 and later: reset(seed=..., options=...)" in done.output
    done = rollgym(ODD + "Before", "--json")
    assert done.exit_code == 2
    report = json.loads(done.stdout)
    assert (report["verdict"], [f["code"] for f in json_findings(report)]) == ("could not be checked", ["refused"])
    done = rollgym(ODD + "Lacking")
    assert done.exit_code == 2
    assert "could not be checked: making it failed: ModuleNotFoundError" in done.output
    assert "what to do: install the package that brings the module a_module_that_nobody_has" in done.output


def test_a_process_that_dies_is_reported() -> None:
    report = supervised(ODD + "Fatal")
    assert (report.verdict, findings(report)[0].code) == ("could not be checked", "died")
    assert "while making the game: it was ended by SIGKILL" in findings(report)[0].text
    # A frame that only a wrong prediction reaches.
    report = supervised(ODD + "Fatal", {"at": 21}, frames=20)
    assert report.verdict == "not safe"
    assert [found.code for found in report.checks if not found.ok] == ["died"]
    assert "while rolling back" in report.checks[-1].detail
    assert "it ended with code 3" in report.checks[-1].detail


def test_what_it_prints_reaches_nobodys_stdout_and_is_named() -> None:
    done = rollgym(ODD + "Noisy", "--frames", 40, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(f["code"], f["severity"]) for f in json_findings(report)] == [("prints", "note")]
    assert "welcome" in json_findings(report)[0]["text"]


def test_an_episode_without_an_end_needs_a_limit() -> None:
    report = run("Endless")
    assert report.verdict == "safe"
    (finding,) = findings(report)
    assert (finding.code, finding.severity) == ("no_end", "needs")
    assert "play.frame_limit" in finding.next


def test_what_the_settings_cannot_play_is_said_before() -> None:
    report = run("Wide")
    assert all(found.ok for found in report.checks)
    assert report.verdict == "not safe"
    assert [(f.code, f.severity) for f in findings(report)] == [("refused_by_run", "fails")]
    assert "expected at most" in findings(report)[0].text
    report = run("Pictures")
    assert report.verdict == "safe"
    assert [(f.code, f.severity, f.path) for f in findings(report)] == [
        ("refused_by_run", "needs", "experiment.play.frame_limit")
    ]
    assert "set play.frame_limit to at most" in findings(report)[0].text


def test_what_does_no_harm_is_noted() -> None:
    report = run("Imprecise")
    assert report.verdict == "safe"
    dropped, rounded = findings(report)
    assert (dropped.code, rounded.code) == ("infos_dropped", "rounded")
    assert "world (object)" in dropped.text
    assert "observation of left" in rounded.text
    report = run("Awaits")
    assert report.verdict == "safe"
    (own_loop,) = findings(report)
    assert own_loop.code == "asyncio"
    assert "(at odd.py:" in own_loop.text


def test_a_policy_that_cannot_be_made_is_bad_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy_without_weights.py").write_text("raise RuntimeError('no weights')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GameError, match=r"a policy that can be made \(RuntimeError: no weights"):
        check("tests.adapters.broken:Sound", policies=["policy_without_weights:act"], elsewhere=False)


def test_slow_calls_are_named() -> None:
    watch = Stopwatch()
    for name, seconds in (("constructor", 0.9), ("reset", 20.0), ("step", 2.5), ("step", 0.1)):
        watch.add(name, seconds)
    reset, step = beyond.slow(watch)
    assert (reset.code, reset.severity) == ("slow_reset", "needs")
    assert "play.start_timeout" in reset.next
    assert (step.code, step.severity) == ("slow_step", "note")
    assert "a step took 2.5 s when called first" in step.text


def test_it_says_what_it_is_doing() -> None:
    heard: list[str] = []
    report = supervised("tests.adapters.broken:Sound", frames=20, silence=0.0, progress=heard.append)
    assert report.ok
    assert any(text.startswith("rolling back, frame") for text in heard) or len(heard) > 3
