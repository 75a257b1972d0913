"""The first frames of a match do nothing that later ones do not: nothing is imported, opened, compiled or loaded once a
match is prepared, and the first frame makes no more calls than the others. Counted, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rollgym.games.builtin.catalogue import BUILT_IN

ADAPTED = ("lbforaging", "multigrid", "rware")
"""One that brings nothing of its own to load, and two whose packages compile when they are first played."""


@pytest.mark.parametrize("game", [*BUILT_IN, *ADAPTED])
def test_the_first_frames_import_open_and_compile_nothing(game: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.games.first_frames", game, "random_hold"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["unexpected"] == []
    first, *others = found["calls"]
    # A few more at most: an action that is decoded for the first time, types of values that are looked up.
    assert first <= 1.2 * max(others)
