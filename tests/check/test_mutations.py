"""What makes a check see: without each of these, an environment that is caught elsewhere would not be."""

from __future__ import annotations

import datetime

import pytest

from rollgym.checking import elsewhere, surroundings
from rollgym.checking import safety as module
from rollgym.checking.surroundings import OTHER, Surroundings
from rollgym.games.adapters import state

BROKEN, ODD = "tests.adapters.broken:", "tests.adapters.odd:"


def failed(name: str, *, elsewhere: bool = False) -> set[str]:
    report = module.check(name, frames=30, elsewhere=elsewhere)
    return {found.code for found in report.checks if not found.ok}


def test_without_other_clocks_the_time_of_day_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(BROKEN + "HourOfDay") == {"clock"}
    monkeypatch.setattr(module, "OTHER_CLOCKS", (Surroundings().clock, (Surroundings().clock[0], 7.7)))
    assert failed(BROKEN + "HourOfDay") == set()


def test_without_the_class_of_c_only_half_of_the_clock_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    still = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    monkeypatch.setattr(surroundings, "_now", lambda cls, tz=None: still)
    assert failed(BROKEN + "HourOfDay") == set()
    assert "clock" in failed(BROKEN + "WallTime")


def test_without_a_second_instance_a_singleton_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(BROKEN + "Singleton") == {"instances"}
    monkeypatch.setattr(module, "meet", lambda *_: None)
    assert failed(BROKEN + "Singleton") == set()


def test_without_seeds_for_spaces_sampling_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(ODD + "SamplesASpace") == set()
    monkeypatch.setattr(state, "seed_spaces", lambda found, seed: None)
    assert "unseeded" in failed(ODD + "SamplesASpace")


def test_without_another_machine_its_name_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "OTHER", OTHER._replace(machine=0))
    assert failed(BROKEN + "HostName", elsewhere=True) == set()
