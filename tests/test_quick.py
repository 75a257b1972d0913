"""``make quick`` is what it says: every name in its lists is there, and one real match is among what is left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.quick import KEPT, LEFT_OUT, is_left_out

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", [*LEFT_OUT, *KEPT])
def test_every_name_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    assert (ROOT / path).exists()
    assert not function or re.search(rf"def {function}\(", (ROOT / path).read_text(encoding="utf-8"))


def test_what_is_kept_is_of_what_is_left_out() -> None:
    assert all(name.startswith(LEFT_OUT) and not is_left_out(name) for name in KEPT)


def test_a_real_match_is_kept() -> None:
    assert any(name.startswith("tests/e2e/test_client_and_server.py::") for name in KEPT)


def test_every_folder_has_a_test_that_is_kept() -> None:
    """But those whose tests are all of the slow kind."""
    folders = {
        path.parent.name
        for path in ROOT.glob("tests/*/test_*.py")
        if not is_left_out(f"tests/{path.parent.name}/{path.name}")
    }
    everything = {path.parent.name for path in ROOT.glob("tests/*/test_*.py")}
    assert everything - folders <= {"benchmarks", "e2e"}
