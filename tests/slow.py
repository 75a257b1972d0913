"""What ``make test`` leaves to ``make slow``: tests that are too slow for every edit, by path.

They play random environments through real processes, kill and stop processes, build wheels, run every benchmark, or
play hundreds of matches. The whole check of a commit runs both.
"""

from __future__ import annotations

import pytest

SLOW = (
    "tests/adapters/test_constants.py::test_what_changes_after_all_is_found_by_its_path",
    "tests/adapters/test_constants.py::test_what_is_constant_is_in_no_snapshot_and_the_rest_is",
    "tests/adapters/test_shelf_play.py",
    "tests/benchmarks/test_benchmarks.py",
    "tests/check/test_check.py::test_what_differs_between_processes_is_caught_and_named",
    "tests/check/test_first_sentence.py",
    "tests/check/test_mutations.py",
    "tests/e2e/test_coming_and_going.py::test_a_fleet_that_loses_its_server_comes_back_brings_what_it_has_and_plays_again",
    "tests/e2e/test_failing_bots.py",
    "tests/e2e/test_import_name.py",
    "tests/e2e/test_kills.py",
    "tests/e2e/test_prediction.py",
    "tests/e2e/test_slow_games.py",
    "tests/e2e/test_stopped.py",
    "tests/e2e/test_two_sentences.py",
    "tests/rollgym/test_ending_the_process.py",
    "tests/rollgym/test_episodes.py::test_the_table_says_what_load_says_from_the_catalogue_and_from_the_files",
    "tests/rollgym/test_scan.py::test_the_frames_are_those_that_load_gives_with_a_catalogue_and_without",
    "tests/rollgym/test_true.py",
    "tests/server/test_ingest_fuzz.py",
    "tests/sim/test_continuing.py",
    "tests/sim/test_fleet.py",
)


def is_slow(nodeid: str) -> bool:
    """Whether a test is one of ``make slow``."""
    return nodeid.startswith(SLOW)


def select(config: pytest.Config, items: list[pytest.Item], *, slow: bool) -> None:
    """Deselect the slow ones, or all others."""
    config.hook.pytest_deselected(items=[item for item in items if is_slow(item.nodeid) != slow])
    items[:] = [item for item in items if is_slow(item.nodeid) == slow]
