"""Tests that the compiled form cannot be given: they reach into the source.

Mutations exchange functions at run time, and compiled code calls its own functions directly. Others look into a peer,
a recorder or the simulator by a subclass, which compiled classes do not have.
"""

from __future__ import annotations

import pytest

PURE_ONLY = (
    "/test_mutations.py",
    "tests/record/test_boundary.py",
    "tests/record/test_departure.py",
    "tests/record/test_driven.py",
    "tests/record/test_fleet.py",
    "tests/record/test_gate.py",
    "tests/record/test_pause.py",
    "tests/record/test_truth.py",
    "tests/sim/test_crashes.py",
)
"""By path, or the end of one."""


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect them."""
    out = [item for item in items if any(name in item.nodeid for name in PURE_ONLY)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
