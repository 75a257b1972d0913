"""Stdout has what a verb says and nothing else, whatever a game prints and whoever started the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NOISY = """
import os, sys
from tests.adapters.toys import Together

print("a banner")
os.write(1, b"a banner of a C library, without an end")


class Noisy(Together):
    def reset(self, *args, **more):
        print("reset ", end="", flush=True)
        os.write(1, b"reset ")
        return super().reset(*args, **more)

    def step(self, *args, **more):
        sys.stdout.write(".")
        sys.__stdout__.write(".")
        return super().step(*args, **more)


def make():
    return Noisy()
"""


def rollgym(*arguments: object, cwd: Path, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; ``shell`` is appended, for what only a shell can do with descriptors."""
    command = " ".join([sys.executable, "-m", "rollgym", *map(str, arguments), shell])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    (tmp_path / "noisy.py").write_text(NOISY)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "--game", "noisy:make", "--frames", 30, "--json"),
        ("check", "noisy:make", "--frames", 30, "--json"),
        ("games", "noisy:make", "--json"),
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_json_is_json_whatever_a_game_prints(noisy: Path, arguments: tuple[object, ...]) -> None:
    done = rollgym(*arguments, cwd=noisy)
    assert json.loads(done.stdout), done.stderr


def test_what_a_game_prints_is_not_lost(noisy: Path) -> None:
    done = rollgym("simulate", "--game", "noisy:make", "--frames", 30, cwd=noisy)
    assert done.returncode == 0
    assert "a banner of a C library" in done.stderr
    assert "reset" not in done.stdout


@pytest.mark.parametrize("verb", [("games",), ("simulate", "--game", "drift", "--frames", 30, "--json"), ("--help",)])
def test_a_full_device_is_one_line_and_2(tmp_path: Path, verb: tuple[object, ...]) -> None:
    done = rollgym(*verb, cwd=tmp_path, shell="> /dev/full")
    assert (done.returncode, done.stderr) == (2, "rollgym: standard output: No space left on device\n")


def test_a_full_device_is_not_the_fault_of_a_game(tmp_path: Path) -> None:
    """Verbs that play an episode again, or a game, catch whatever it raises; what they say is not part of that."""
    assert rollgym("simulate", "--game", "drift", "--frames", 30, "--out", "out", cwd=tmp_path).returncode == 0
    (canonical,) = tmp_path.rglob("canonical.parquet")
    episode = canonical.parent
    for verb in (
        ("replay", episode),
        ("replay", episode, "--gif", "a.gif"),
        ("verify", "out"),
        ("check", "drift", "--frames", 10),
        ("games", "drift"),
        ("simulate", "--game", "drift", "--frames", 30, "--out", "again"),
    ):
        done = rollgym(*verb, cwd=tmp_path, shell="> /dev/full")
        assert (done.returncode, done.stderr) == (2, "rollgym: standard output: No space left on device\n"), verb


@pytest.mark.parametrize("verb", [("games",), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, verb: tuple[object, ...]) -> None:
    done = rollgym(*verb, cwd=tmp_path, shell="| true")
    assert (done.returncode in (0, 1, 141), done.stderr) == (True, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_descriptors_change_nothing(tmp_path: Path, closed: str) -> None:
    done = rollgym("simulate", "--game", "drift", "--frames", 30, "--out", "out", cwd=tmp_path, shell=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "out").rglob("canonical.parquet"))) == 1


def test_text_that_the_locale_has_not_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text('experiment: {name: "étude 日本", speed: 3}\n', encoding="utf-8")
    done = rollgym("serve", "./étude.yaml", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    done = rollgym("run", "names.yaml", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert "unknown key" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_verb_prints_around_the_guard() -> None:
    for path in sorted((ROOT / "rollgym" / "commands").glob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            wrong = ("typer.echo(" in line and "err=True" not in line) or line.lstrip().startswith("print(")
            assert not wrong, f"{path.name}:{number}: say() knows where stdout is"
