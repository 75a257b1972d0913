"""Is a game safe to roll back, why not if not, what does it need to be played, and what does it cost?

Episodes are played straight on and recorded; then everything that rollback, another peer, the simulator or the
server's audit would do is done to them, and every state, observation, reward, end and info must come out the same, bit
for bit. Where something differs, experiments say why: the same is done again with one thing held fast, or with one
thing made different. A reason is given only if an experiment showed it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from rollgym.checking import beyond, causes
from rollgym.checking.cost import measure
from rollgym.checking.elsewhere import Elsewhere
from rollgym.checking.evidence import Evidence
from rollgym.checking.instances import meet
from rollgym.checking.other_process import ProcessFailed
from rollgym.checking.process_side_effects import Outside, drawn_from, seed_global_random, surrounded
from rollgym.checking.raised import described
from rollgym.checking.report import UNCHECKED, UNSAFE, Check, Finding, Report, as_finding, verdict
from rollgym.checking.rollback_causes import Attempt, why_not_back
from rollgym.checking.rolling import Doing, Rolling, nothing_to_tell
from rollgym.checking.starting import ILLEGAL, could_not, has_mask
from rollgym.checking.surroundings import (
    OTHER,
    OTHER_CLOCKS,
    REAL,
    USUAL,
    Surroundings,
    forget_looks,
)
from rollgym.checking.timing import Stopwatch
from rollgym.checking.trace import Difference, Shown, Trace, bots, located, record, replay
from rollgym.games.contract import Game
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.policy import Policy
from rollgym.games.registry import make

__all__ = ["Check", "Finding", "Report", "check"]


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
    doing: Doing = nothing_to_tell,
) -> Report:
    """Check a game by name. ``frames`` are played with random actions and again with each policy of ``policies``.

    Without ``elsewhere`` no other process is started, which is quicker and cannot see what differs between processes.
    ``said`` hears of every check when it is done, ``doing`` what is going on, many times a second. Raises
    :class:`~rollgym.games.errors.GameError` for a name, parameters or a policy that cannot be used. A game that can
    not be copied, or that raises while it is played, is not safe; one that cannot be made, reset or stepped at all
    could not be checked.
    """
    given = dict(parameters or {})
    watch = Stopwatch()
    forget_looks()
    doing("making the game")
    try:
        with surrounded(USUAL), watch.of("constructor"):
            game = make(game_id, given)
    except Unsafe as error:
        return _refused(game_id, error, said)
    except GameError:
        raise
    except Exception as error:  # noqa: BLE001 - the code of users may raise anything
        return Report(game_id, UNCHECKED, [], [could_not("making it", error)])
    checker = _Checker(game_id, given, game, window, watch, said, doing)
    try:
        return checker.run(policies, frames, seed, fps, elsewhere)
    finally:
        game.close()


def _refused(game_id: str, error: Unsafe, said: Callable[[Check], None]) -> Report:
    text = f"{error.field} is {error.value}"
    found = Check("snapshot", False, text, error.expected, path=error.field, code="snapshot")
    said(found)
    return Report(game_id, UNSAFE, [found], [as_finding(found)])


class _Stopped(Exception):
    """The rest cannot be checked."""


class _Checker:
    def __init__(
        self,
        game_id: str,
        parameters: dict[str, Any],
        game: Game,
        window: int,
        watch: Stopwatch,
        said: Callable[[Check], None],
        doing: Doing,
    ) -> None:
        self._id, self._parameters, self._game, self._window = game_id, parameters, game, window
        self._watch, self._said, self._doing = watch, said, doing
        self.checks: list[Check] = []
        self.findings: list[Finding] = []
        self._evidence = Evidence(game)
        self._draws: list[str] = []
        self._rollbacks = 0
        self._outside_before: dict[int, Any] = {}
        """What the variables outside of the environment were when a trace began, by its id."""

    def run(self, policies: Sequence[str], frames: int, seed: int, fps: float | None, elsewhere: bool) -> Report:
        game = self._game
        names = list(dict.fromkeys(("random", *policies)))
        players = {name: self._bots(name, seed) for name in names}
        rate = float(game.spec.fps if fps is None else fps)
        traces: list[Trace] = []
        cost = None
        try:
            outside = Outside(game)
            for name in names:
                traces += self._recorded(players[name], seed, frames, outside)
            self._all_checks(traces, outside, elsewhere)
            with surrounded(USUAL):
                cost = measure(game, max(traces, key=lambda trace: len(trace.inputs)), rate, REAL["perf_counter"])
        except Unsafe as error:
            return _refused(self._id, error, self._said)
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - the code of users may raise anything
            self._raised(error)
        self.findings += beyond.found(game, self._evidence, traces, self._watch, self._draws, rate)
        spec = game.spec
        said = verdict(self.checks, self.findings)
        return Report(
            self._id,
            said,
            self.checks,
            self.findings,
            spec.version,
            list(spec.agents),
            spec.players,
            self._evidence.method,
            rate,
            len(traces),
            sum(len(trace.inputs) for trace in traces),
            self._rollbacks,
            cost,
            said == "safe",
        )

    def _bots(self, name: str, seed: int) -> list[Policy]:
        try:
            return bots(self._game, name, seed)
        except GameError:
            raise
        except Exception as error:
            raise GameError("policy", name, f"a policy that can be made ({described(error)})") from error

    def _recorded(self, players: Sequence[Any], seed: int, frames: int, outside: Outside) -> Iterable[Trace]:
        left = frames
        while left > 0:
            trace = Trace(seed, game=self._game)
            self._outside_before[id(trace)] = outside.held.save()
            with surrounded(USUAL):
                before = drawn_from()
                try:
                    record(self._game, players, seed, left, trace=trace, doing=self._doing, watch=self._watch)
                except Unsafe:
                    raise
                except Exception as error:  # noqa: BLE001 - the code of users may raise anything
                    raise self._broken_off(trace, error) from None
                for name, a, b in zip(("random", "numpy.random"), before, drawn_from(), strict=True):
                    if a != b and name not in self._draws:
                        self._draws.append(name)
            yield trace
            left -= len(trace.inputs)
            seed += 1

    def _broken_off(self, trace: Trace, error: Exception) -> _Stopped:
        """It raised while it was played straight on: nothing is known if that was at once."""
        env = self._evidence.innermost
        if trace.inputs:
            self._raised(error, len(trace.inputs), ILLEGAL if env is not None and has_mask(env) else "")
        else:
            self.findings.append(could_not("the first step" if trace.shown else "the reset", error, env))
        return _Stopped()

    def _raised(self, error: Exception, frame: int | None = None, cause: str = "") -> None:
        text = str(error) if isinstance(error, GameError) else described(error)
        self._add(Check("plays", False, text, cause, frame, code="raised"))

    # -- the checks ----------------------------------------------------------------------------------------------------

    def _all_checks(self, traces: list[Trace], outside: Outside, elsewhere: bool) -> None:
        away = Elsewhere(self._id, self._parameters, traces, self._game.spec.agents, self._doing)
        changed = outside.changed()
        for trace in traces:
            found = self._parting(trace, self._replayed(trace))
            if found is not None:
                self._unrepeated(trace, found, outside, changed, away if elsewhere else None)
                return
        self._tell("repetition", "reset and the same actions", None)
        matter = [
            *(["clock"] if not self._wall_time(traces) else []),
            *(["luck"] if not self._global_random(traces) else []),
            *(["entropy"] if not self._system_random(traces) else []),
        ]
        self._roll_back(traces, outside, changed)
        if not matter:
            self._instances(traces, outside)
        if elsewhere:
            self._processes(away, matter)

    def _unrepeated(
        self, trace: Trace, found: Difference, outside: Outside, changed: list[str], away: Elsewhere | None
    ) -> None:
        """Plain repetition fails. Is it what is left outside of the environment?"""
        repeated = False
        if changed:
            outside.held.load(self._outside_before[id(trace)])
            repeated = self._parting(trace, self._replayed(trace)) is None
        new = None
        if not repeated and away is not None:
            try:
                new = away.repeats()
            except ProcessFailed:
                new = None
        self._tell("repetition", "reset and the same actions", found, causes.repetition(changed, repeated, new))

    def _wall_time(self, traces: list[Trace]) -> bool:
        def play(trace: Trace, clock: tuple[float, float]) -> Generator[Shown, None, None]:
            return self._replayed(trace, USUAL._replace(clock=clock))

        each = (self._first(traces, lambda trace, c=clock: play(trace, c)) for clock in OTHER_CLOCKS)  # type: ignore[misc]
        return self._tell("clock", "wall time", next(filter(None, each), None), causes.clock())

    def _global_random(self, traces: list[Trace]) -> bool:
        found = self._first(traces, lambda trace: self._replayed(trace, USUAL._replace(luck=OTHER.luck), disturb=True))
        return self._tell("global_random", "global random state", found, causes.luck(self._draws))

    def _system_random(self, traces: list[Trace]) -> bool:
        found = self._first(traces, lambda trace: self._replayed(trace, USUAL._replace(entropy=OTHER.entropy)))
        return self._tell("unseeded", "random numbers of the system", found, causes.entropy())

    def _replayed(
        self,
        trace: Trace,
        surroundings: Surroundings = USUAL,
        disturb: bool = False,
    ) -> Generator[Shown, None, None]:
        """Play again, in the surroundings of the recording unless others are wanted."""
        with surrounded(surroundings):
            for number, shown in enumerate(replay(self._game, trace)):
                self._doing(f"playing again, frame {number} of {len(trace.inputs)}")
                yield shown
                if disturb:
                    seed_global_random(surroundings.luck + number)

    def _instances(self, traces: list[Trace], outside: Outside) -> None:
        self._doing("playing two instances in one process")
        met = meet(self._game, lambda: make(self._id, self._parameters), traces, outside)
        name = "two instances in one process"
        self._tell("instances", name, None if met is None else met.found, None if met is None else causes.meeting(met))

    def _roll_back(self, traces: list[Trace], outside: Outside, changed: list[str]) -> None:
        wanted = sorted({1, 2, self._window} - {0})
        stride = self._evidence.stride(sum(len(trace.inputs) for trace in traces))
        rolling = Rolling(self._game, doing=self._doing)
        found = cause = None
        for trace in traces:
            found = rolling.back(trace, wanted, stride)
            if found is not None:
                self._doing("finding out why it cannot be rolled back")
                attempt = Attempt(self._id, self._parameters, self._game, trace, wanted, stride, self._doing)
                cause = why_not_back(attempt, self._evidence, outside, changed, self._draws)
                break
        happened = [distance for distance in wanted if rolling.distances[distance]]
        self._rollbacks = sum(rolling.distances.values())
        frames = "frame" if happened == [1] else "frames"
        self._tell("rollback", f"rollback by {', '.join(map(str, happened or wanted))} {frames}", found, cause)
        missing = [distance for distance in wanted if distance not in happened]
        if missing and found is None:
            self.findings.append(beyond.shallow(happened, missing, traces))

    def _processes(self, away: Elsewhere, matter: list[str]) -> None:
        name = "another process, another PYTHONHASHSEED"
        try:
            parted = away.parted(matter)
        except ProcessFailed as error:
            self._tell(
                "process", name, Difference(-1, "process", "", "an answer", str(error)), "it does not play there"
            )
            return
        if parted is None:
            self._tell("process", name, None)
        else:
            self._tell("process", name, parted.found, causes.processes(parted, self._draws))

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _first(self, traces: list[Trace], play: Callable[[Trace], Generator[Shown, None, None]]) -> Difference | None:
        return next(filter(None, (self._parting(trace, play(trace)) for trace in traces)), None)

    def _parting(self, trace: Trace, played: Generator[Shown, None, None]) -> Difference | None:
        with closing(played):
            for row, shown in enumerate(played):
                if shown != trace.shown[row]:
                    return located(self._game, trace, row - 1, shown, self._game.save())
        return None

    def _tell(self, code: str, name: str, found: Difference | None, cause: str | None = None) -> bool:
        if found is None:
            self._add(Check(name, True, code=code))
            return True
        path = found.path or found.part
        self._add(Check(name, False, str(found), cause or "", found.frame, path, found.first, found.again, code))
        return False

    def _add(self, result: Check) -> None:
        self.checks.append(result)
        if not result.ok:
            self.findings.append(as_finding(result))
        self._said(result)
