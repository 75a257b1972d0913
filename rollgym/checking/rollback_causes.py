"""Why a game cannot be rolled back: the same rollback is tried with one thing held fast, or with another snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rollgym.checking import causes
from rollgym.checking.evidence import Evidence
from rollgym.checking.process_side_effects import Held, LuckHeld, Outside, surrounded
from rollgym.checking.rolling import Doing, Rolling
from rollgym.checking.surroundings import USUAL, ClockHeld, EntropyHeld
from rollgym.checking.trace import Trace, played
from rollgym.games.contract import Game
from rollgym.games.registry import make

PLACES_BY_REPLAY = 12
"""Frames between the places at which it is tried whether a game holds whose every load plays the episode again."""


class Attempt(NamedTuple):
    """The rollbacks of a game that did not come out the same."""

    game_id: str
    parameters: dict[str, Any]
    game: Game
    trace: Trace
    wanted: list[int]
    """By how many frames."""
    stride: int
    """Frames between the places at which it is rolled back."""
    doing: Doing

    def holds(self, *held: Held) -> bool:
        """Whether it comes out the same with all of these held fast."""
        return Rolling(self.game, held, self.doing).back(self.trace, self.wanted, self.stride) is None

    def holds_with(self, snapshot: str, stride: int) -> bool | None:
        """Whether it comes out the same with another way to save. None if that cannot be tried."""
        adapter = {**self.parameters.get("adapter", {}), "snapshot": snapshot}
        if snapshot == "replay":
            adapter["replay_limit"] = len(self.trace.inputs) + 1
        try:
            with surrounded(USUAL):
                game = make(self.game_id, {**self.parameters, "adapter": adapter})
        except Exception:  # noqa: BLE001 - then it is no way out, which is all that is asked
            return None
        try:
            with surrounded(USUAL):
                again = played(game, self.trace)
            return Rolling(game, doing=self.doing).back(again, self.wanted, stride) is None
        except Exception:  # noqa: BLE001 - the same
            return None
        finally:
            game.close()


def why_not_back(
    attempt: Attempt, evidence: Evidence, outside: Outside, changed: list[str], draws: Sequence[str]
) -> str:
    """The cause that experiments show, for people. ``draws``: the global generators that the game draws from."""
    experiments: list[tuple[str, Held, Callable[[], str]]] = [
        ("variables outside of the environment", outside.held, lambda: causes.outside(changed)),
        ("the clock", ClockHeld(), causes.clock),
        ("random and numpy.random", LuckHeld(), lambda: causes.luck(draws)),
        ("the system's random numbers", EntropyHeld(), causes.entropy),
    ]
    for _, held, text in experiments:
        if attempt.holds(held):
            return text()
    if attempt.holds(*(held for _, held, _ in experiments)):
        return causes.several([name for name, *_ in experiments], changed)
    if evidence.method == "native":
        copied = attempt.holds_with("copy", attempt.stride)
        if copied is not None:
            return causes.native(evidence.environment, evidence.pickled, copied)
    replayed = None
    if evidence.method == "copy":
        replayed = attempt.holds_with("replay", max(attempt.stride, PLACES_BY_REPLAY))
    return causes.unknown([name for name, *_ in experiments], replayed)
