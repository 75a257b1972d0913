"""What games of the contract give is recorded as it is, or is an error that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rollgym.games.contract import GameSpec, Outcome
from rollgym.games.errors import GameError
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.protocol.episode.export import INPUT_REAL, Canonical

SPEC = GameSpec(
    "given", "1", ("a", "b"), (spaces.Discrete(2),) * 2, (spaces.Box(0, 9, (1,), np.uint8),) * 2, (0, 0), 30
)


def recorded(rewards: Any = (0.0, 0.0), ends: Any = (False, False), seen: Any = 0) -> Canonical:
    builder = CanonicalBuilder(SPEC)
    first = np.zeros(1, np.uint8)
    builder.start(({}, {}), (first, first), 0)
    outcome = Outcome(rewards, ends, ends, ({}, {}), False)
    builder.append((b"\0", b"\1"), (INPUT_REAL, INPUT_REAL), outcome, ([seen], first), 0)
    return builder.build()


def test_numbers_of_another_kind_are_recorded_as_what_they_are() -> None:
    columns = recorded((3, np.float32(0.5)), (np.True_, 0), 9).columns
    assert columns["rewards"].array().tolist() == [[3.0, 0.5]]
    assert columns["terminations"].array().tolist() == [[True, False]]
    assert columns["observations/a"].array().tolist() == [[0], [9]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rewards": (0.0, None)}, r"rewards\[0, 1\] = 'a NoneType'"),
        ({"rewards": (2**53 + 1, 0.0)}, r"rewards\[0, 0\] = 9007199254740993: .*float64"),
        ({"rewards": ("1", 0.0)}, r"rewards\[0, 0\] = 'a str'"),
        ({"rewards": (0.0,)}, r"rewards = 'numbers\[1, 1\]': expected float64\[1, 2\]"),
        ({"ends": (2, False)}, r"terminations\[0, 0\] = 2: .*bool"),
        ({"ends": (None, False)}, r"terminations\[0, 0\] = 'a NoneType'"),
        ({"seen": 300}, "uint8"),
        ({"seen": -1}, "uint8"),
    ],
)
def test_what_would_become_something_else_is_an_error(given: Any, said: str) -> None:
    with pytest.raises(GameError, match=said):
        recorded(**given)
