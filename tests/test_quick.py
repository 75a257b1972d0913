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


def test_every_part_has_tests_that_are_kept() -> None:
    paths = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*/test_*.py")]
    kept = {path.split("/")[1] for path in [*(path for path in paths if not is_left_out(path)), *KEPT]}
    assert {path.split("/")[1] for path in paths} - kept == {"benchmarks"}
