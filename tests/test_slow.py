"""``make slow`` is what it says: every name in its list is there, and nothing is in neither run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slow import SLOW, is_slow

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", SLOW)
def test_every_name_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    assert (ROOT / file).is_file()
    assert not test or f"def {test}(" in (ROOT / file).read_text()


def test_the_whole_check_runs_both() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make test" in lines
    assert "make slow" in lines


def test_a_test_is_slow_by_its_name() -> None:
    assert is_slow("tests/sim/test_fleet.py::test_fleet[0]")
    assert not is_slow("tests/sim/test_remote_peer.py::test_x")
