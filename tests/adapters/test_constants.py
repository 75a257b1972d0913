"""What is said never to change is in no snapshot, and does not go unnoticed if it does."""

from __future__ import annotations

from typing import Any

import pytest

from rollgym.checking.safety import check
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.registry import make
from tests.adapters.broken import Sound, Values
from tests.check.findings import findings

PLANNED = "tests.adapters.test_constants:Planned"


class Planner:
    """Many objects, and one that the game has as well."""

    def __init__(self, world: list[int]) -> None:
        self.world = world
        self.plans: dict[int, Any] = {at: [at, [at + 1]] for at in range(500)}
        self.uses = [0]


class Planned(Sound):
    def __init__(self, counts: bool = False) -> None:
        super().__init__(length=20)
        self.world = [0]
        self.planner = Planner(self.world)
        self.also = self.planner
        self.counts = counts

    def luck(self, action: Values) -> float:
        self.planner.world[0] += action["left"]
        if self.counts:
            self.planner.uses[0] += 1
        return 1e-3 * float(self.planner.plans[self.world[0] % 500][0] + self.planner.uses[0])


def adapter(*paths: str, **more: Any) -> dict[str, Any]:
    return {"adapter": {"constant": list(paths)}, **more}


def records(parameters: dict[str, Any]) -> int:
    game: Any = make(PLANNED, parameters)
    game.reset(1)
    return len(game.save().state.records)


def test_what_is_constant_is_in_no_snapshot_and_the_rest_is() -> None:
    whole, without = records({}), records(adapter("env.planner"))
    assert whole - without == 3 + 500 * 2  # the planner, its two containers, the plans
    report = check(PLANNED, adapter("env.planner"), frames=30)
    assert report.verdict == "safe", findings(report)
    assert report.rollbacks > 50
    assert findings(report) == []
    (finding,) = findings(check(PLANNED, frames=30, elsewhere=False))
    assert (finding.code, finding.severity) == ("large_state", "note")
    assert "most are in env.planner.plans (1001)" in finding.text
    assert "adapter={constant: [env.planner.plans]}" in finding.next
    # What the game holds as well is saved: it moves.
    game: Any = make(PLANNED, adapter("env.planner"))
    game.reset(1)
    before = game.save()
    game.env.world[0] = 7
    game.load(before)
    assert game.env.world == [0] == game.env.planner.world


class Linked(Sound):
    """Thousands of objects, each in the one before."""

    def __init__(self) -> None:
        super().__init__(length=20)
        self.first: list[Any] = []
        for number in range(2000):
            self.first = [number, self.first]


def test_a_path_that_nobody_can_read_is_not_named() -> None:
    (finding,) = findings(check("tests.adapters.test_constants:Linked", frames=20, elsewhere=False))
    assert finding.code == "large_state"
    assert "env.first[1][1]" in finding.text
    assert len(finding.text) + len(finding.next) < 400


def test_what_changes_after_all_is_found_by_its_path() -> None:
    game = make(PLANNED, adapter("env.planner", counts=True))
    game.reset(1)
    game.step(tuple(codec.encode(1) for codec in game.spec.input_codecs))
    with pytest.raises(Unsafe, match="said to be constant, and has changed") as refused:
        game.reset(1)
    assert refused.value.field == "env.planner.uses[0]"
    report = check(PLANNED, adapter("env.planner", counts=True), frames=30, elsewhere=False)
    assert report.verdict == "not safe"
    assert report.checks[-1].path == "env.planner.uses[0]"
    assert check(PLANNED, {"counts": True}, frames=30, elsewhere=False).verdict == "safe"


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["env.plannner"], "adapter.constant = 'env.plannner': expected the path of an object"),
        (["env.t"], "such as"),
        ("env.planner", "a list of paths"),
        ([3], "a list of paths"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(paths: Any, words: str) -> None:
    with pytest.raises(GameError, match=words):
        make(PLANNED, {"adapter": {"constant": paths}})
