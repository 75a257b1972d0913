"""Two instances in one process, as the simulator has them: neither may know of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rollgym.checking.process_side_effects import Outside, surrounded
from rollgym.checking.raised import described
from rollgym.checking.surroundings import Surroundings
from rollgym.checking.trace import Difference, Trace, located, nothing_yet, show
from rollgym.games.contract import Game

ROLLED_BACK_EVERY = 5
"""Frames after which the second instance goes back and forth once more, while the first one stands still."""


class Met(NamedTuple):
    """What happened when a second instance came."""

    found: Difference
    changed: list[str]
    """Variables outside of both that changed meanwhile."""
    alone: bool
    """The second one plays right as long as the first one stands still."""
    second: bool
    """It is the second one that plays otherwise than the first one did."""


class _Seat:
    """One instance on its way through a trace, over and over."""

    def __init__(self, game: Game, trace: Trace) -> None:
        self.game, self._trace = game, trace
        self._rows = 0

    def advance(self) -> Difference | None:
        """The reset or one step further."""
        game, trace = self.game, self._trace
        if self._rows > len(trace.inputs):
            self._rows = 0
        row = self._rows
        outcome = game.step(trace.inputs[row - 1]) if row else nothing_yet(game, game.reset(trace.seed))
        self._rows += 1
        snapshot = game.save()
        shown = show(game, outcome, snapshot)
        return None if shown == trace.shown[row] else located(game, trace, row - 1, shown, snapshot)

    def back_and_forth(self) -> None:
        """Play a frame that counts for nothing, and go back."""
        snapshot = self.game.save()
        self.game.step(self._trace.inputs[0])
        self.game.load(snapshot)


def meet(game: Game, make: Callable[[], Game], traces: list[Trace], outside: Outside) -> Met | None:
    """Play the longest trace, and beside it with a new instance another one, frame by frame. None: nothing happened."""
    ordered = sorted(traces, key=lambda trace: -len(trace.inputs))
    mine, its = ordered[0], ordered[-1]
    first = _Seat(game, mine)
    before = outside.digests()
    other = None
    try:
        with surrounded(Surroundings()):
            found = first.advance() or first.advance()
            try:
                other = make()
                second = _Seat(other, its)
                for row in range(len(mine.inputs)):
                    found, is_second = second.advance(), True
                    if found is None and not row % ROLLED_BACK_EVERY and row:
                        second.back_and_forth()
                    if found is None and row < len(mine.inputs) - 1:
                        found, is_second = first.advance(), False
                    if found is not None:
                        return Met(found, outside.changed(before), _alone(other, its), is_second)
            except Exception as error:  # noqa: BLE001 - the code of users may raise anything
                raised = Difference(-1, "the second instance", "", "played as the first one", described(error))
                return Met(raised, outside.changed(before), False, True)
    finally:
        if other is not None:
            other.close()
    return None


def _alone(other: Game, trace: Trace) -> bool:
    seat = _Seat(other, trace)
    return all(seat.advance() is None for _ in range(len(trace.inputs) + 1))
