"""Rolling back at every frame of episodes that were played, as a peer does: with wrong inputs first, then the real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from rollgym.checking.process_side_effects import Held, surrounded
from rollgym.checking.surroundings import Surroundings
from rollgym.checking.trace import Difference, Trace, located, show
from rollgym.games.contract import Game, JointInput
from rollgym.games.errors import Unsafe

Doing = Callable[[str], None]


def nothing_to_tell(_: str) -> None:
    """For who does not want to hear what is being done."""


class Rolling:
    """A game, and everything that is saved and loaded together with it: nothing else, but for an experiment."""

    def __init__(self, game: Game, held: Sequence[Held] = (), doing: Doing = nothing_to_tell) -> None:
        self._game, self._held, self._doing = game, held, doing
        self.distances: Counter[int] = Counter()
        """How often it was rolled back by how many frames."""

    def back(self, trace: Trace, distances: Sequence[int], stride: int) -> Difference | None:
        """Play a trace and roll back at every ``stride``-th frame. The first difference, if there is one."""
        with surrounded(Surroundings()):
            try:
                return self._back(trace, distances, stride)
            except Unsafe as error:
                return Difference(-1, "state", error.field, "played once", str(error.value))

    def _back(self, trace: Trace, distances: Sequence[int], stride: int) -> Difference | None:
        game, inputs = self._game, trace.inputs
        wrong = [*inputs[len(inputs) // 2 :], *inputs[::-1]]
        game.reset(trace.seed)
        snapshots = [self._save()]
        for frame in range(len(inputs)):
            self._doing(f"rolling back, frame {frame} of {len(inputs)}")
            found = self._step(trace, frame, snapshots)
            if found is not None:
                return found
            before = game.state_bytes(snapshots[-1][0])
            game.observe()
            if game.state_bytes(game.save()) != before:
                return Difference(frame, "state", "", "before observe()", "another one after it")
            if frame % stride:
                continue
            for distance in distances:
                back = frame + 1 - distance
                if back < 0:
                    continue
                # First what was predicted, wrongly; then what really was. The prediction goes on into a frame that was
                # never played before: what a game remembers of it comes from a state that was wrong.
                self._load(snapshots[back])
                self._mispredict(wrong[back : back + distance + 1])
                self._load(snapshots[back])
                del snapshots[back + 1 :]
                self.distances[distance] += 1
                for at in range(back, frame + 1):
                    found = self._step(trace, at, snapshots)
                    if found is not None:
                        return found
        return None

    def _save(self) -> tuple[Any, list[Any]]:
        return self._game.save(), [held.save() for held in self._held]

    def _load(self, snapshot: tuple[Any, list[Any]]) -> None:
        self._game.load(snapshot[0])
        for held, saved in zip(self._held, snapshot[1], strict=True):
            held.load(saved)

    def _mispredict(self, inputs: list[JointInput]) -> None:
        for joint in inputs:
            if self._game.step(joint).terminal:
                return

    def _step(self, trace: Trace, frame: int, snapshots: list[Any]) -> Difference | None:
        game = self._game
        outcome = game.step(trace.inputs[frame])
        snapshots.append(self._save())
        shown = show(game, outcome, snapshots[-1][0])
        if shown == trace.shown[frame + 1]:
            return None
        return located(game, trace, frame, shown, snapshots[-1][0])
