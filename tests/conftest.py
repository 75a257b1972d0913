"""Settings that hold for every test."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from rollgym.protocol.build_form import is_compiled
from tests import pure_only
from tests.quick import PROFILE, leave_out
from tests.slow import select

_CALM = [HealthCheck.too_slow]

# `ci` draws the same examples every time and has no deadline: two machines, or two runs, cannot disagree.
# `quick` draws fewer. `explore` draws new ones and more of them: HYPOTHESIS_PROFILE=explore.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=_CALM)
settings.register_profile(PROFILE, settings.get_profile("ci"), max_examples=15)
settings.register_profile("explore", deadline=None, max_examples=1000, suppress_health_check=_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# What all tests together keep alive is walked less often: a tenth of the time of tests that play.
gc.set_threshold(100_000, 50, 100)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--quick``: without what takes most of the time (``tests/quick.py``). ``--slow``, ``--not-slow``: as named."""
    parser.addoption("--quick", action="store_true", help="leave out what tests/quick.py names")
    parser.addoption("--slow", action="store_true", help="only what tests/slow.py names")
    parser.addoption("--not-slow", action="store_true", help="leave out what tests/slow.py names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the options leave out, and from the compiled form what does not concern it."""
    if is_compiled():
        pure_only.leave_out(config, items)
    if config.getoption("quick"):
        leave_out(config, items)
    if config.getoption("slow") or config.getoption("not_slow"):
        select(config, items, slow=config.getoption("slow"))
