"""Whole matches under random schedules: invariants 9 to 12 of the architecture, for 2, 3 and 4 peers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.judging import judge
from tests.sim.plans import Dice, Plan, draw_plan

T = TypeVar("T")

EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"


class Drawn:
    """Choices made by hypothesis, which knows how to make them smaller."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def choice(self, among: Sequence[T]) -> T:
        return self._data.draw(st.sampled_from(among))


@pytest.mark.parametrize("players", [2, 3, 4])
def test_any_schedule(players: int) -> None:
    """Exports, states and inputs are equal everywhere, nothing is reported, all come to the end; twice the same."""
    totals: Counter[str] = Counter()

    @settings(max_examples=2000 if EXPLORING else 40 if players == 2 else 15, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        plan = draw_plan(Drawn(data), frames=(20, 60), players=(players,))
        problems, played = judge(plan, twice=True)
        assert not problems, f"{plan.text()}\n" + "\n".join(problems)
        assert played is not None
        totals["frames"] += played.frames
        totals["rollbacks"] += played.rollbacks
        totals["matches"] += 1

    check()
    assert totals["matches"] >= 15
    assert totals["frames"] >= 20 * totals["matches"]
    assert totals["rollbacks"] >= totals["matches"]


@pytest.mark.parametrize("players", [2, 3, 4])
def test_liveness_after_healing(players: int) -> None:
    """A partition as long as anything lasts, and a pause with it: afterwards at least 10 frames more are confirmed."""
    for at in (0.0, 0.1, 0.4):
        for window in (0, 8, 300):
            plan = Plan(
                players=players,
                seed=players,
                frames=90,
                window=window,
                forward={"latency": 0.03, "loss": 0.1},
                backward={"latency": 0.03, "loss": 0.1},
                partitions=((at, 4.0, None),),
                pauses=((players - 1, at + 0.5, 2.0),),
            )
            problems, played = judge(plan)
            assert not problems, f"{plan.text()}\n" + "\n".join(problems)
            assert played is not None
            assert played.result.seconds > at + 4.0
            for player in played.result.players:
                before = sum(time <= at for time in player.exports[0].own.columns["time"].array().tolist())
                assert 90 - before >= 10


def test_another_seed_another_trace() -> None:
    """The trace is of use: it does change when anything does."""
    plan = Plan(frames=40, forward={"latency": 0.02, "jitter": 0.01}, backward={"latency": 0.02})
    traces = set()
    for seed in range(5):
        _, played = judge(Plan.parse(plan.text().replace("{", f'{{"seed": {seed}, ', 1)))
        assert played is not None
        traces.add(played.result.trace)
    assert len(traces) == 5


@pytest.mark.parametrize("seconds", [1.0, 5.0, 6.0, 20.0])
@pytest.mark.parametrize("window", [8, 1500])
def test_a_paused_peer_comes_back(seconds: float, window: int) -> None:
    """Its partner waits at the window, or has run far ahead: what was missed is made up for, all of it."""
    plan = Plan(
        frames=300,
        window=window,
        delay=2,
        hold=3,
        forward={"latency": 0.3 if window > 8 else 0.05},
        backward={"latency": 0.3 if window > 8 else 0.05},
        pauses=((1, 0.8, seconds),),
        timeout=60.0,
    )
    problems, played = judge(plan)
    assert not problems, f"{plan.text()}\n" + "\n".join(problems)
    assert played is not None
    assert played.frames == 300
    deepest = max(event.depth for p in played.result.players for event in p.exports[0].own.rollbacks)
    assert deepest > (150 if window > 8 and seconds > 1.0 else 2)


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_another_process_another_hash_order_the_same_trace(hash_seed: str) -> None:
    plan = draw_plan(Dice(11), frames=(40, 40), players=(3,))
    _, here = judge(plan)
    assert here is not None
    assert here.rollbacks > 0
    code = (
        "import sys; from tests.sim.judging import play; from tests.sim.plans import Plan; "
        "played = play(Plan.parse(sys.argv[1])); "
        "print(played.result.trace, *(e.digest.hex() for p in played.result.players for e in p.exports))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, plan.text()],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    digests = [export.digest.hex() for player in here.result.players for export in player.exports]
    assert there.stdout.split() == [here.result.trace, *digests]
