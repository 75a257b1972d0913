"""Is a game safe to roll back, why not if not, and what does it cost?

Episodes are played straight on and recorded; then everything that rollback, another peer or the server's audit would
do is done to them, and every state, observation, reward, end and info must come out the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct

from rollgym.checking import causes
from rollgym.checking.cost import Cost, measure
from rollgym.checking.other_process import OtherProcess, ProcessFailed
from rollgym.checking.outside import Outside, clock, drawn_from, global_random, seed_global_random
from rollgym.checking.raised import described
from rollgym.checking.trace import (
    ABSENT,
    Difference,
    Shown,
    Trace,
    bots,
    difference,
    record,
    replay,
    shortened,
    show,
    state_difference,
)
from rollgym.games.contract import Game, JointInput
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.registry import make

CLOCK = (1_700_000_000.0, 0.001)
"""What the clock says while episodes are recorded and played again: a start and a step, in seconds."""
OTHER_CLOCK = (2_000_000_000.0, 7.7)
LUCK = 1
"""What the global generators are seeded with meanwhile."""
ROLLBACKS_BY_REPLAY = 25
"""Places at which a game is rolled back whose every load plays the episode again."""


class Check(Struct, frozen=True):
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str = ""
    """The first difference, in words."""
    cause: str = ""
    """What it usually comes from, and what to do."""
    frame: int | None = None
    path: str | None = None
    """The field of the state, or the part of what was given out, that differs first."""
    first: str | None = None
    again: str | None = None


class Report(Struct, frozen=True):
    """What was found out about a game."""

    game: str
    ok: bool
    checks: list[Check]
    version: str = ""
    agents: list[str] = []
    players: int = 0
    snapshot: str = ""
    """How its state is saved: ``own``, ``copy``, ``native`` or ``replay``."""
    fps: float = 0.0
    episodes: int = 0
    frames: int = 0
    rollbacks: int = 0
    cost: Cost | None = None
    notes: list[str] = []


def check(
    game_id: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    policies: Sequence[str] = (),
    frames: int = 300,
    window: int = 8,
    seed: int = 0,
    fps: float | None = None,
    elsewhere: bool = True,
    said: Callable[[Check], None] = lambda _: None,
) -> Report:
    """Check a game by name. ``frames`` are played with random actions and again with each policy of ``policies``.

    Without ``elsewhere`` no other process is started, which is quicker and can not see what differs between processes.
    ``said`` hears of every check when it is done. Raises :class:`~rollgym.games.errors.GameError` for a name,
    parameters or a
    policy that can not be used; a game that can not be copied, or that raises something else, is a finding, not an
    error.
    """
    try:
        game = make(game_id, parameters)
    except Unsafe as error:
        return _refused(game_id, error, said)
    except GameError:
        raise
    except Exception as error:  # noqa: BLE001 - the code of users may raise anything
        return _raised(game_id, [], error, said)
    checker = _Checker(game_id, dict(parameters or {}), game, window, said)
    try:
        return checker.run(policies, frames, seed, fps, elsewhere)
    except GameError:
        raise
    except Exception as error:  # noqa: BLE001 - here as well
        return _raised(game_id, checker.checks, error, said)
    finally:
        game.close()


def _refused(game_id: str, error: Unsafe, said: Callable[[Check], None]) -> Report:
    found = Check("snapshot", False, f"{error.field} is {error.value}", error.expected, path=error.field)
    said(found)
    return Report(game_id, False, [found])


def _raised(game_id: str, checks: list[Check], error: Exception, said: Callable[[Check], None]) -> Report:
    found = Check("plays", False, described(error))
    said(found)
    return Report(game_id, False, [*checks, found])


class _Checker:
    def __init__(
        self, game_id: str, parameters: dict[str, Any], game: Game, window: int, said: Callable[[Check], None]
    ) -> None:
        self._id, self._parameters, self._game, self._window = game_id, parameters, game, window
        self._said = said
        self.checks: list[Check] = []
        self._evidence = causes.Evidence(game)
        self._rollbacks = 0

    def run(self, policies: Sequence[str], frames: int, seed: int, fps: float | None, elsewhere: bool) -> Report:
        game = self._game
        names = list(dict.fromkeys(("random", *policies)))
        players = {name: bots(game, name, seed) for name in names}
        try:
            outside = Outside(game)
            traces = [t for name in names for t in self._recorded(players[name], seed, frames)]
            self._evidence.outside = outside.changed()
        except Unsafe as error:
            return _refused(self._id, error, self._said)
        self._again(traces)
        self._wall_time(traces)
        self._global_random(traces)
        self._roll_back(traces, frames)
        if elsewhere:
            self._processes(traces)
        rate = float(game.spec.fps if fps is None else fps)
        with global_random(LUCK):
            cost = measure(game, max(traces, key=lambda trace: len(trace.inputs)), rate)
        spec = game.spec
        return Report(
            self._id,
            all(found.ok for found in self.checks),
            self.checks,
            spec.version,
            list(spec.agents),
            spec.players,
            self._evidence.method,
            rate,
            len(traces),
            sum(len(trace.inputs) for trace in traces),
            self._rollbacks,
            cost,
            self._evidence.notes(),
        )

    def _recorded(self, players: Sequence[Any], seed: int, frames: int) -> Iterable[Trace]:
        left = frames
        while left > 0:
            with global_random(LUCK), clock(*CLOCK):
                before = drawn_from()
                trace = record(self._game, players, seed, left)
                self._evidence.draws = [
                    name for name, a, b in zip(("random", "numpy.random"), before, drawn_from(), strict=True) if a != b
                ] or self._evidence.draws
            yield trace
            left -= len(trace.inputs)
            seed += 1

    # -- the checks ----------------------------------------------------------------------------------------------------

    def _again(self, traces: list[Trace]) -> None:
        self._compare("reset and the same actions", traces, self._replayed)

    def _wall_time(self, traces: list[Trace]) -> None:
        self._compare("wall time", traces, lambda trace: self._replayed(trace, when=OTHER_CLOCK))

    def _global_random(self, traces: list[Trace]) -> None:
        self._compare("global random state", traces, lambda trace: self._replayed(trace, luck=99, disturb=True))

    def _replayed(
        self, trace: Trace, luck: int = LUCK, when: tuple[float, float] = CLOCK, disturb: bool = False
    ) -> Generator[Shown, None, None]:
        """Play again, in the surroundings of the recording unless others are wanted."""
        with global_random(luck), clock(*when):
            for number, shown in enumerate(replay(self._game, trace)):
                yield shown
                if disturb:
                    seed_global_random(luck + number)

    def _roll_back(self, traces: list[Trace], frames: int) -> None:
        distances = sorted({1, 2, self._window} - {0})
        by_replay = self._evidence.method == "replay"
        stride = max(1, frames // ROLLBACKS_BY_REPLAY) if by_replay else 1
        found = None
        for trace in traces:
            with global_random(LUCK), clock(*CLOCK):
                try:
                    found = self._rolled_back(trace, distances, stride)
                except Unsafe as error:
                    found = Difference(-1, "state", error.field, "played once", str(error.value))
            if found is not None:
                break
        self._tell(f"rollback by {', '.join(map(str, distances))} frames", found)

    def _rolled_back(self, trace: Trace, distances: list[int], stride: int) -> Difference | None:
        game, inputs = self._game, trace.inputs
        wrong = [*inputs[len(inputs) // 2 :], *inputs[::-1]]
        game.reset(trace.seed)
        snapshots = [game.save()]
        for frame in range(len(inputs)):
            found = self._step(trace, frame, snapshots)
            if found is not None:
                return found
            before = game.state_bytes(snapshots[-1])
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
                game.load(snapshots[back])
                self._mispredict(wrong[back : back + distance + 1])
                game.load(snapshots[back])
                del snapshots[back + 1 :]
                self._rollbacks += 1
                for at in range(back, frame + 1):
                    found = self._step(trace, at, snapshots)
                    if found is not None:
                        return found
        return None

    def _mispredict(self, inputs: list[JointInput]) -> None:
        for joint in inputs:
            if self._game.step(joint).terminal:
                return

    def _step(self, trace: Trace, frame: int, snapshots: list[Any]) -> Difference | None:
        game = self._game
        outcome = game.step(trace.inputs[frame])
        snapshots.append(game.save())
        shown = show(game, outcome, snapshots[-1])
        if shown == trace.shown[frame + 1]:
            return None
        return self._located(trace, frame, shown, snapshots[-1])

    def _processes(self, traces: list[Trace]) -> None:
        name = "another process, another PYTHONHASHSEED"
        try:
            runs = [self._elsewhere(traces, seed) for seed in (1, 2)]
            one, two = (run.answer()[0] for run in runs)
            here = [trace.shown for trace in traces]
            agents = self._game.spec.agents
            # Two others may differ by their hash seeds, or agree and differ from this one.
            place, seeds = _first_difference(one, two, agents), (1, 2)
            if place is None:
                place, seeds = _first_difference(here, one, agents), (1, 1)
            self._tell(name, None if place is None else self._differing_elsewhere(traces, one, place, seeds))
        except ProcessFailed as error:
            self._tell(name, Difference(-1, "process", "", "an answer", str(error)))

    def _elsewhere(self, traces: list[Trace], hash_seed: int, at: tuple[int, int] = (-1, 0)) -> OtherProcess:
        return OtherProcess(self._id, self._parameters, traces, hash_seed, at)

    def _differing_elsewhere(
        self, traces: list[Trace], one: list[list[Shown]], place: tuple[int, int, Difference], seeds: tuple[int, int]
    ) -> Difference:
        """The same once more: is it the hash seed, and which field of the state is it?"""
        number, row, found = place
        runs = [self._elsewhere(traces, seed, (number, row)) for seed in (*seeds, 1)]
        answers = [run.answer() for run in runs]
        self._evidence.hash_seed = seeds == (1, 2) and answers[2][0] == one
        first, again = (fields for _, fields in answers[:2])
        for name in [*first, *(name for name in again if name not in first)]:
            a, b = first.get(name, ABSENT), again.get(name, ABSENT)
            if a != b:
                return found._replace(part="state", path=name, first=shortened(a), again=shortened(b))
        return found

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _compare(self, name: str, traces: list[Trace], play: Callable[[Trace], Generator[Shown, None, None]]) -> None:
        self._tell(name, next(filter(None, (self._parting(trace, play(trace)) for trace in traces)), None))

    def _parting(self, trace: Trace, played: Generator[Shown, None, None]) -> Difference | None:
        with closing(played):
            for row, shown in enumerate(played):
                if shown != trace.shown[row]:
                    return self._located(trace, row - 1, shown, self._game.save())
        return None

    def _located(self, trace: Trace, frame: int, shown: Shown, snapshot: Any) -> Difference | None:
        """The first difference; a field of the state if one differs there, otherwise what was given out."""
        game, before = self._game, trace.snapshots[frame + 1]
        field = state_difference(game.state_fields(before), game.state_fields(snapshot))
        if field is not None:
            return Difference(frame, "state", *field)
        given = difference(frame, trace.shown[frame + 1], shown, game.spec.agents)
        if given is not None and given.part == "observations":
            seen = (dict(zip(game.spec.agents, o, strict=True)) for o in (game.observe_at(before), game.observe()))
            field = state_difference(*seen)
            return given if field is None else Difference(frame, "observations", *field)
        return given

    def _tell(self, name: str, found: Difference | None) -> None:
        if found is None:
            result = Check(name, True)
        else:
            cause = causes.usual_cause(name, found, self._evidence, [c.name for c in self.checks if not c.ok])
            result = Check(
                name, False, str(found), cause, found.frame, found.path or found.part, found.first, found.again
            )
        self.checks.append(result)
        self._said(result)


def _first_difference(
    one: list[list[Shown]], two: list[list[Shown]], agents: Sequence[str]
) -> tuple[int, int, Difference] | None:
    for number, (first, second) in enumerate(zip(one, two, strict=True)):
        for row, (a, b) in enumerate(zip(first, second, strict=False)):
            found = difference(row - 1, a, b, agents)
            if found is not None:
                return number, row, found
    return None
