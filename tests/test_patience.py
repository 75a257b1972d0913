"""No test gives up on its own sense of time: every wait is bounded by ``PATIENCE``, and by nothing shorter."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from tests.patience import PATIENCE

TESTS = Path(__file__).parent

FIRST = {"timeout"}
"""``asyncio.timeout(seconds)``."""
SECOND = {"wait_for"}
"""``asyncio.wait_for(what, seconds)``."""
NAMED = {"run", "call", "check_output", "communicate", "join", "result", "urlopen", "wait", "wait_for"}
"""``subprocess.run(..., timeout=seconds)`` and its like."""


def impatient(source: str) -> list[int]:
    """The lines with a wait that a small number bounds, unless its line says that it is no wait for something."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        bounds = [keyword.value for keyword in node.keywords if name in NAMED and keyword.arg == "timeout"]
        if name in FIRST and isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "asyncio":
            bounds += node.args[:1]
        elif name in SECOND:
            bounds += node.args[1:2]
        given = [bound.value for bound in bounds if isinstance(bound, ast.Constant)]
        small = any(isinstance(value, int | float) and value < PATIENCE for value in given)
        if small and not any("not a wait" in line for line in lines[node.lineno - 1 : node.end_lineno]):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", sorted(TESTS.glob("**/*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_waits_are_patient(path: Path) -> None:
    assert impatient(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("asyncio.timeout(10)", True),
        ("asyncio.timeout(PATIENCE)", False),
        ("asyncio.timeout(300)", False),
        ("asyncio.wait_for(x, 1.5)", True),
        ("asyncio.wait_for(x, WAIT)", False),
        ("wait_for(x, timeout=3)", True),
        ("subprocess.run(x, timeout=110)", True),
        ("process.wait(timeout=PATIENCE)", False),
        ("Play(timeout=1.0)", False),
        ("asyncio.wait_for(x, 0.01)  # not a wait: it looks once", False),
    ],
)
def test_what_counts_as_impatient(line: str, bad: bool) -> None:
    assert bool(impatient(line)) is bad


def test_the_limit_of_a_whole_test_is_beyond_that() -> None:
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["pytest"]["ini_options"]["timeout"] >= 2 * PATIENCE
