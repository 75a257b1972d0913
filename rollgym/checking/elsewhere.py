"""What differs from process to process, and which one thing of their surroundings it is that makes the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollgym.checking.other_process import Answer, OtherProcess
from rollgym.checking.rolling import Doing
from rollgym.checking.surroundings import OTHER, OTHER_CLOCKS, Surroundings
from rollgym.checking.trace import ABSENT, Difference, Shown, Trace, difference, shortened

ALIKE = Surroundings()
ONE_DIFFERENT = {
    "hash_seed": [ALIKE._replace(hash_seed=number) for number in (2, 3, 4)],
    "clock": [ALIKE._replace(clock=clock) for clock in OTHER_CLOCKS],
    "luck": [ALIKE._replace(luck=OTHER.luck)],
    "entropy": [ALIKE._replace(entropy=OTHER.entropy)],
    "machine": [ALIKE._replace(machine=OTHER.machine)],
}
"""Surroundings in which one thing only is not as usual."""


AT_ONCE = 2
"""Processes that run at the same time."""


class Parted:
    """Where processes part, and what experiments showed of the reason."""

    def __init__(self, found: Difference) -> None:
        self.found = found
        self.reasons: list[str] = []
        """The things that make the difference, each by itself; of :data:`ONE_DIFFERENT`."""
        self.alike_differ = False
        """Two processes in equal surroundings differ already."""
        self.first_differs = False
        """Processes agree with each other, and not with the one that played first, whatever the surroundings."""
        self.places: dict[str, list[str]] = {}
        """Where the environment looked at the clock and so on."""


class Elsewhere:
    """Plays traces in other processes."""

    def __init__(
        self, game: str, parameters: Mapping[str, Any], traces: list[Trace], agents: Sequence[str], doing: Doing
    ) -> None:
        self._game, self._parameters, self._traces, self._agents = game, parameters, traces, agents
        self._doing = doing

    def parted(self, known: Sequence[str] = ()) -> Parted | None:
        """None if all agree. ``known`` are things that are known to matter, by their names in :data:`ONE_DIFFERENT`:
        if they explain everything, nothing else is tried. Raises
        :class:`~rollgym.checking.other_process.ProcessFailed`."""
        self._doing("playing in other processes")
        alike, other = self._answers([ALIKE, OTHER])
        here = [trace.shown for trace in self._traces]
        place, with_other = self._first(alike.shown, other.shown), True
        if place is None:
            place, with_other = self._first(here, alike.shown), False
        return None if place is None else self._reasons(place, with_other, known)

    def repeats(self) -> tuple[bool, bool]:
        """Whether a new process plays as it was played here, and whether two new processes play alike."""
        self._doing("playing in other processes")
        one, two = self._answers([ALIKE, ALIKE])
        here = [trace.shown for trace in self._traces]
        return self._first(here, one.shown) is None, self._first(one.shown, two.shown) is None

    def _reasons(self, place: tuple[int, int, Difference], with_other: bool, known: Sequence[str]) -> Parted:
        number, row, found = place
        at = (number, row)
        parted = Parted(found)
        self._doing("finding out why other processes differ")
        one, two, repeated = self._answers([ALIKE, OTHER if with_other else ALIKE, ALIKE], at)
        parted.places = one.places
        first, again = one.fields, two.fields
        for name in [*first, *(name for name in again if name not in first)]:
            a, b = first.get(name, ABSENT), again.get(name, ABSENT)
            if a != b:
                parted.found = found._replace(part="state", path=name, first=shortened(a), again=shortened(b))
                break
        parted.alike_differ = self._first(one.shown, repeated.shown) is not None
        if parted.alike_differ:
            return parted
        if known and with_other:
            (rest,) = self._answers([OTHER._replace(**{name: getattr(ALIKE, name) for name in known})])
            if self._first(one.shown, rest.shown) is None:
                parted.reasons = list(known)
                return parted
        # The others of a kind are for what the first one happens not to show.
        for choose in (slice(1), slice(1, None)):
            if not parted.reasons:
                changes = [(name, each) for name, several in ONE_DIFFERENT.items() for each in several[choose]]
                self._try(changes, one, parted)
        parted.first_differs = not with_other
        return parted

    def _try(self, changes: list[tuple[str, Surroundings]], usual: Answer, parted: Parted) -> None:
        """Which of these surroundings make a difference."""
        for number in range(0, len(changes), AT_ONCE):
            batch = changes[number : number + AT_ONCE]
            answers = self._answers([surroundings for _, surroundings in batch])
            for (reason, _), answer in zip(batch, answers, strict=True):
                if reason not in parted.reasons and self._first(usual.shown, answer.shown) is not None:
                    parted.reasons.append(reason)

    def _answers(self, surroundings: Sequence[Surroundings], at: tuple[int, int] = (-1, 0)) -> list[Answer]:
        runs = [OtherProcess(self._game, self._parameters, self._traces, s, at) for s in surroundings]
        try:
            return [run.answer() for run in runs]
        finally:
            for run in runs:
                run.close()

    def _first(self, one: list[list[Shown]], two: list[list[Shown]]) -> tuple[int, int, Difference] | None:
        for number, (first, second) in enumerate(zip(one, two, strict=True)):
            for row, (a, b) in enumerate(zip(first, second, strict=False)):
                found = difference(row - 1, a, b, self._agents)
                if found is not None:
                    return number, row, found
        return None
