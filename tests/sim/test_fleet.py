"""A fleet: very many short matches under random faults, and all schedules that ever failed.

Schedules are drawn from plain seeds, so number 713 is the same match on every machine. Failures are collected, made
smaller and reported together. ``make soak`` plays many more, from seeds nobody has seen, and keeps what fails in
``tests/sim/corpus/``; whoever finds a failing schedule in another way adds it there by hand.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.judging import judge
from tests.sim.plans import CORPUS, Dice, Plan, draw_departure, draw_plan
from tests.sim.shrinking import shrink_failure

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
BATCHES = 12
SCHEDULES = 8_000 if SOAK else 85
"""In each batch."""
FIRST = time.time_ns() % 1_000_000_007 * BATCHES * SCHEDULES if SOAK else 0
TWICE_EVERY = 10
"""Every so many schedules one is played twice, and must leave the same trace."""
DEPARTURES = 1_500 if SOAK else 15
"""In each batch: matches of three and four in which players die."""
SHOWN = 3
"""Failures that are made smaller: that takes time, and the first ones say most."""


def diagnose(number: int, plan: Plan, problems: list[str]) -> str:
    """All about one failure: as it was found, and made smaller."""
    small, rest = shrink_failure(plan)
    if SOAK:
        (CORPUS / f"found_{number}.json").write_text(small.text() + "\n")
    lines = [f"schedule {number}: {plan.text()}", *(f"    {problem[:1500]}" for problem in problems[:5])]
    lines += [f"  made smaller: {small.text()}", *(f"    {problem[:1500]}" for problem in rest[:5])]
    return "\n".join(lines)


def ordinary(number: int) -> Plan:
    return draw_plan(Dice(number), frames=(16, 44))


def departure(number: int) -> Plan:
    return draw_departure(Dice(number))


def run_fleet(draw: Callable[[int], Plan], batch: int, schedules: int) -> Counter[str]:
    """Play one batch; all failures are reported together. Returns what was reached."""
    failed: dict[int, list[str]] = {}
    totals: Counter[str] = Counter()
    for number in range(FIRST + batch, FIRST + batch + BATCHES * schedules, BATCHES):
        problems, played = judge(draw(number), twice=number % TWICE_EVERY == 0)
        if problems:
            failed[number] = problems
        if played is not None:
            totals["played"] += 1
            totals["frames"] += played.frames
            totals["rollbacks"] += played.rollbacks
            exports = [export for player in played.result.players for export in player.exports]
            totals["partial"] += any(export.header.status != "complete" for export in exports)
            totals["idle"] += any(e.canonical.columns["input_source"].array().any() for e in exports)
    if failed:
        shown = [diagnose(number, draw(number), problems) for number, problems in list(failed.items())[:SHOWN]]
        pytest.fail(f"{len(failed)} of {schedules} schedules failed: {sorted(failed)}\n" + "\n".join(shown))
    assert totals["played"] == schedules
    assert totals["rollbacks"] > 10 * schedules
    return totals


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fleet(batch: int) -> None:
    """At least 1,000 random schedules in all batches together."""
    totals = run_fleet(ordinary, batch, SCHEDULES)
    assert totals["frames"] > 25 * SCHEDULES
    assert totals["partial"] == 0
    assert totals["idle"] > 0, "nobody was away"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_fleet_in_which_players_die(batch: int) -> None:
    """Survivors agree on everything, though the last packets of the dead reached only some of them."""
    totals = run_fleet(departure, batch, DEPARTURES)
    assert totals["partial"] > 0
    assert totals["idle"] > 0


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    """What failed once does not fail again."""
    plan = Plan.parse(path.read_text())
    assert Plan.parse(plan.text()) == plan
    problems, played = judge(plan, twice=True)
    assert not problems, f"{plan.text()}\n" + "\n".join(problems)
    assert played is not None
    assert played.rollbacks > 0


def test_corpus_is_there() -> None:
    assert len(list(CORPUS.glob("*.json"))) >= 2
