"""One session beside an independent account of what it must do.

The :class:`Harness` drives a session through its public calls and keeps its own books: the facts that were handed in,
what each frame was last simulated with, which predictions turned out wrong. Every call of the session into the
simulation and the recorder is checked against these books at the moment it happens; what breaks the architecture's
invariant ``n`` raises :class:`Broken` with that number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.errors import InvariantViolation, NotReady, RollbackError
from rollgym.client_sim.rollback.input_queue import GONE, IDLE, REAL, InputQueue
from rollgym.client_sim.rollback.interfaces import Rollback
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings
from rollgym.games.contract import JointInput, Outcome
from rollgym.protocol.episode.column import Column
from tests.rollback.fingerprint import fingerprint
from tests.rollback.predictors import DEFAULT, PREDICTORS
from tests.rollback.toy import State, Toy, ends, first_state, following, observation, rewards, state_digest

RECORD = 0
"""Stands where the architecture has no number: the peer's own account (was_speculative, times_simulated, ...)."""

ALWAYS = InputQueue.FOREVER + 1


class Broken(AssertionError):
    """Invariant ``invariant`` of the architecture does not hold."""

    def __init__(self, invariant: int, text: str) -> None:
        super().__init__(f"invariant {invariant}: {text}")
        self.invariant = invariant


def demand(invariant: int, holds: bool, text: str) -> None:
    if not holds:
        raise Broken(invariant, text)


@contextmanager
def _nothing_missing(call: str) -> Iterator[None]:
    """The session lacks a snapshot or an input that it must have, or notices that it broke its own rules."""
    try:
        yield
    except (InvariantViolation, LookupError, StopIteration) as error:
        raise Broken(6, f"{call} found something missing: {error!r}") from error


@dataclass(frozen=True)
class Setup:
    """How a harness's session is made."""

    players: int = 2
    local: tuple[int, ...] = (0,)
    window: int = 8
    save_every: int = 1
    checksum_interval: int = 10
    delay: int = 0
    predictor: str = "repeat_last"
    ends_from: int | None = None
    recorded: bool = True
    seed: int = 0


class Harness:
    """A session, its game, its recorder, and the books."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.toy = Toy(setup.players, ends_from=setup.ends_from)
        reset = self.toy.reset(setup.seed)
        predictor, self.guess = PREDICTORS[setup.predictor]
        self.recorder = EpisodeRecorder(self.toy, reset, setup.local[0]) if setup.recorded else None
        # The books. `states[f]` is S_f along the way the frames were last simulated, `truth[f]` along the facts.
        self.facts: list[list[bytes]] = [[] for _ in range(setup.players)]
        self.idle: set[tuple[int, int]] = set()
        """(player, frame) of facts that were filled in for a player who was away."""
        self.left: set[int] = set()
        """Players who are gone: their facts end, and from there on the default input is one."""
        self.last_frame: int | None = None
        self.used: list[JointInput] = []
        self.states: list[State] = [first_state(setup.seed)]
        self.truth: list[State] = [first_state(setup.seed)]
        self.canonical = 0
        self.terminal: int | None = None
        self.pending: int | None = None
        self.speculative: set[int] = set()
        self.simulated: dict[int, int] = {}
        self.latest: dict[int, JointInput] = {}
        self.wrong: set[int] = set()
        self.undone = 0
        self.ticks: Counter[str] = Counter()
        self.heard: list[tuple[int, int]] = []
        self.rollbacks: list[Rollback] = []
        self.lies: tuple[int, int, int] | None = None
        self.desyncs: list[Any] = []
        self._rolling: Rollback | None = None
        self._replayed = 0
        self._reported = 0
        self.session = Session(
            _Watched(self),
            self.toy.spec.default_inputs,
            setup.local,
            SessionSettings(setup.delay, setup.window, setup.save_every, setup.checksum_interval),
            recorder=_Listener(self) if setup.recorded else None,
            predictor=predictor,
        )
        self.remote = tuple(p for p in range(setup.players) if p not in setup.local)

    # -- what the books say --------------------------------------------------------------------------------------

    @property
    def known(self) -> int:
        """The last frame with all inputs."""
        return min(self.end(player) for player in range(self.setup.players)) - 1

    @property
    def remote_known(self) -> int:
        return min((self.end(player) for player in self.remote), default=ALWAYS) - 1

    def end(self, player: int) -> int:
        """The first frame without an input of this player."""
        return ALWAYS if player in self.left else len(self.facts[player])

    def fact(self, player: int, frame: int) -> bytes:
        facts = self.facts[player]
        return facts[frame] if frame < len(facts) else DEFAULT

    def source(self, player: int, frame: int) -> int:
        return GONE if frame >= len(self.facts[player]) else int((player, frame) in self.idle)

    def expected_progress(self) -> SessionProgress:
        ends = [frame for frame in (self.terminal, self.last_frame) if frame is not None and frame < len(self.used)]
        if ends:
            return SessionProgress.OVER if self.canonical > min(ends) else SessionProgress.TERMINAL
        ready = len(self.used) - self.remote_known <= self.setup.window
        return SessionProgress.READY if ready else SessionProgress.STALLED

    # -- calls ---------------------------------------------------------------------------------------------------

    def deliver(self, player: int, start: int, values: Sequence[bytes], sources: Sequence[int] | None = None) -> None:
        """Inputs that join what is known, and agree with it: also on which were filled in."""
        facts = self.facts[player]
        told = [int((player, frame) in self.idle) for frame in range(start, min(start + len(values), len(facts)))]
        if sources is not None or any(told):
            new_ones = [0] * (len(values) - len(told)) if sources is None else list(sources[len(told) :])
            sources = told + new_ones
        known = max(0, len(facts) - start)
        new = [] if player in self.left else list(values[known:])
        expected = []
        for frame, value in enumerate(new, len(facts)):
            if sources is not None and sources[frame - start]:
                self.idle.add((player, frame))
            if self._mispredicted(player, frame, value):
                expected.append((frame, player))
        facts.extend(new)
        self.heard.clear()
        taken = self.session.add_inputs(player, start, values, sources)
        demand(3, taken == len(new), f"{taken} inputs taken in, {len(new)} were new")
        self._check_mispredictions(expected)
        self.check()

    def leave(self, player: int, after: int) -> None:
        """Player ``player`` is gone, and ``after`` is the last frame with an input of its own."""
        del self.facts[player][after + 1 :]
        self.idle -= {(one, frame) for one, frame in self.idle if one == player and frame > after}
        self.left.add(player)
        if self.pending is not None:
            # What showed it may be one of the inputs that count no more.
            players = range(self.setup.players)
            frames = range(self.pending, len(self.used))
            self.pending = next((f for f in frames if any(self._wrong_at(f, p) for p in players)), None)
        expected = [
            (frame, player) for frame in range(after + 1, len(self.used)) if self._mispredicted(player, frame, DEFAULT)
        ]
        self.heard.clear()
        self.session.disconnect(player, after)
        self._check_mispredictions(expected)
        self.check()

    def _mispredicted(self, player: int, frame: int, value: bytes) -> bool:
        """Enter a fact for a frame into the books; whether it was simulated with something else."""
        if frame >= len(self.used) or self.used[frame][player] == value:
            return False
        self.pending = frame if self.pending is None else min(self.pending, frame)
        self.wrong.add(frame)
        return True

    def _check_mispredictions(self, expected: list[tuple[int, int]]) -> None:
        demand(5, self.session.rollback_pending == self.pending, f"first incorrect frame {self.pending} not noticed")
        if self.recorder is not None:
            demand(RECORD, self.heard == expected, f"mispredictions {expected} were reported as {self.heard}")

    def end_after(self, frame: int) -> None:
        """The survivors agreed on the episode's last frame."""
        self.last_frame = frame if self.last_frame is None else min(frame, self.last_frame)
        self.session.end_after(frame)
        self.check()

    def refuse(self, error: type[RollbackError], call: Callable[[], object]) -> RollbackError:
        """The call must raise exactly ``error`` and leave the session as it was."""
        before = fingerprint(self.session)
        try:
            call()
        except RollbackError as refusal:
            demand(3, type(refusal) is error, f"refused with {refusal!r}, expected {error.__name__}")
            demand(3, bool(str(refusal)), "an error without text")
            demand(3, fingerprint(self.session) == before, f"{refusal!r} changed the session")
            self.check()
            return refusal
        raise Broken(3, f"not refused, expected {error.__name__}")

    def settle(self) -> SessionProgress:
        """One settle, and everything that must hold after it."""
        end = len(self.used)
        expected = self.pending
        self._reported = 0
        before = len(self.rollbacks)
        try:
            with _nothing_missing("settle"):
                progress = self.session.settle()
        except Broken:
            if expected is not None:
                demand(4, self.session.canonical <= expected, f"frame {expected} was mispredicted, but is canonical")
            raise
        if self._rolling is not None:
            self._finish_rollback(end)
        if expected is not None:
            demand(5, self.pending is None, f"frame {expected} was mispredicted, but not simulated again")
            if self.recorder is not None:
                demand(5, len(self.rollbacks) == before + 1, "a rollback was not reported, or more than one")
        demand(5, self.session.rollback_pending is None, "a rollback is pending after settle")
        final = min(self.known, len(self.used) - 1, *([] if self.last_frame is None else [self.last_frame])) + 1
        if self.recorder is not None:
            demand(4, self.canonical == final, f"{self.canonical} frames promoted of {final}")
        else:
            self._extend_truth(final)
            self.canonical = final
        demand(4, self.session.canonical == self.canonical, "canonical frames miscounted")
        demand(7, progress is self.expected_progress(), f"{progress}, expected {self.expected_progress()}")
        self.check()
        self._check_desyncs()
        return progress

    def decide(self, values: Sequence[bytes], source: int = REAL) -> None:
        """Enter local inputs into the books."""
        for player, value in zip(self.setup.local, values, strict=True):
            facts, target = self.facts[player], len(self.used) + self.session.inputs.delays[player]
            if len(facts) > target:
                continue
            while len(facts) < target:
                facts.append(facts[-1] if facts else DEFAULT)
            if source == IDLE:
                self.idle.add((player, target))
            facts.append(value)

    def register(self, values: Sequence[bytes]) -> None:
        """Fix local inputs without a step."""
        self.decide(values)
        self.session.register(values)
        self.check()

    def step(self, values: Sequence[bytes], source: int = REAL) -> None:
        """One frame; the session must be ready."""
        frame = len(self.used)
        self.decide(values, source)
        self._reported = 0
        with _nothing_missing("step"):
            self.session.step(values, source)
        demand(1, len(self.used) == frame + 1, f"{len(self.used) - frame} frames simulated in a step")
        if self.recorder is not None:
            demand(RECORD, self._reported == 1, f"{self._reported} frames reported in a step")
        self.check(thoroughly=False)

    def tick(self, values: Sequence[bytes], source: int = REAL) -> SessionProgress:
        """Settle, and step if that is allowed; otherwise a step must be refused."""
        progress = self.settle()
        self.ticks[progress.name] += 1
        if progress is SessionProgress.READY:
            self.step(values, source)
        else:
            self.refuse(NotReady, lambda: self.session.step(values))
        return progress

    def tell_checksum(self, player: int, frame: int, digest: int) -> None:
        """Another player's digest of ``S_frame``."""
        self.session.checksums.theirs(player, frame, digest)

    # -- checks --------------------------------------------------------------------------------------------------

    def check(self, *, thoroughly: bool = True) -> None:
        """What holds between any two calls."""
        session = self.session
        demand(1, session.current == len(self.used), f"current is {session.current}, expected {len(self.used)}")
        demand(3, session.confirmed == self.known, f"confirmed is {session.confirmed}, expected {self.known}")
        demand(7, session.terminal_frame == self.terminal, f"terminal {session.terminal_frame}, not {self.terminal}")
        demand(4, session.canonical == self.canonical, f"canonical {session.canonical}, expected {self.canonical}")
        for player, (queue, facts) in enumerate(zip(session.queues, self.facts, strict=True)):
            end = self.end(player)
            demand(3, queue.last == end - 1, f"player {player}: inputs to {queue.last}, {len(facts)} handed in")
            for frame in range(self.canonical if thoroughly else len(facts), len(facts)):
                with _nothing_missing("a look at the inputs"):
                    demand(3, queue.value(frame) == facts[frame], f"player {player}: input of frame {frame} changed")

    def _check_desyncs(self) -> None:
        """A lie about a checksum is reported once it can be compared, once; nothing else is."""
        self.desyncs.extend(self.session.take_desyncs())
        if self.lies is None:
            demand(9, not self.desyncs, f"false alarm: {self.desyncs}")
        else:
            player, frame, digest = self.lies
            if self.desyncs:
                demand(9, frame < len(self.truth), f"{self.desyncs}, but frame {frame} is not canonical here")
                own = state_digest(self.truth[frame])
                demand(9, self.desyncs == [(frame, player, own, digest)], f"{self.desyncs} for the lie {self.lies}")

    def finish(self) -> None:
        """The record against the books: what an export of this moment would say."""
        recorder = self.recorder
        if recorder is None:
            return
        frames = self.canonical
        built = recorder.build().columns
        self._column(4, built, "frame", range(frames))
        self._column(4, built, "rewards", [rewards(self.truth[f + 1], self.setup.players) for f in range(frames)])
        for player, agent in enumerate(self.toy.spec.agents):
            self._column(4, built, f"actions/{agent}", [list(self.fact(player, f)) for f in range(frames)])
            seen = [observation(state, player) for state in self.truth[: frames + 1]]
            self._column(4, built, f"observations/{agent}", seen)
        sources = [[self.source(player, f) for player in range(self.setup.players)] for f in range(frames)]
        self._column(4, built, "input_source", sources)
        every = self.setup.save_every
        digests = built["state_digest"].array().tolist()
        for frame in range(0, frames + 1, every):
            demand(4, digests[frame] == state_digest(self.truth[frame]), f"state_digest of frame {frame}")
        own = recorder.own_columns()
        self._column(RECORD, own, "was_speculative", [f in self.speculative for f in range(frames)])
        self._column(RECORD, own, "mispredicted", [f in self.wrong for f in range(frames)])
        self._column(RECORD, own, "times_simulated", [self.simulated[f] for f in range(frames)])
        again = [sum(r.to_frame <= f < r.at_frame for r in self.rollbacks) for f in range(frames)]
        self._column(RECORD, own, "rollbacks", again)
        events = [(e.at_frame, e.to_frame, e.depth, e.player, e.predicted, e.actual) for e in recorder.rollbacks]
        booked = [(r.at_frame, r.to_frame, r.depth, r.player, r.predicted, r.actual) for r in self.rollbacks]
        demand(RECORD, events == booked, "rollback events differ")

    def _column(self, invariant: int, columns: Mapping[str, Column], name: str, expected: Any) -> None:
        found = columns[name].array()
        wanted = np.array(expected, dtype=found.dtype).reshape(found.shape)
        demand(invariant, np.array_equal(found, wanted), f"column {name}: {found.tolist()} not {wanted.tolist()}")

    # -- what the session does, as it does it --------------------------------------------------------------------

    def on_load(self, snapshot: State) -> None:
        end = len(self.used)
        demand(5, self.pending is not None, "a rollback although nothing was mispredicted")
        target = self.pending
        assert target is not None
        demand(2, snapshot.frame <= target < end, f"loaded S_{snapshot.frame} for a rollback from {end} to {target}")
        demand(6, snapshot == self.states[snapshot.frame], f"the snapshot of frame {snapshot.frame} is not its state")
        demand(2, end - target <= self.setup.window, f"a rollback of {end - target} frames")
        if self.recorder is None:
            player = next(p for p in range(self.setup.players) if self._wrong_at(target, p))
            used, fact = self.used[target][player], self.fact(player, target)
            self.rollbacks.append(Rollback(end, target, player, used, fact))
        self._rolling = self.rollbacks[-1]
        demand(5, self._rolling.to_frame == target, f"rollback to {self._rolling.to_frame}, expected {target}")
        self._ended, self.terminal = self.terminal, None
        self._replayed = snapshot.frame
        self._old_end = end

    def _wrong_at(self, frame: int, player: int) -> bool:
        return frame < self.end(player) and self.fact(player, frame) != self.used[frame][player]

    def on_step(self, state: State, inputs: JointInput) -> None:
        """Before every step of the simulation."""
        frame = state.frame
        demand(7, self.terminal is None, f"frame {frame} stepped although frame {self.terminal} ended the episode")
        if self._rolling is not None:
            demand(1, frame == self._replayed, f"frame {frame} simulated again where {self._replayed} was due")
            demand(1, frame < self._old_end, f"frame {frame} simulated in a rollback from {self._old_end}")
            self._replayed += 1
            if frame < self._rolling.to_frame:
                demand(4, inputs == self.used[frame], f"frame {frame} before the rollback's target got other inputs")
                self.simulated[frame] += 1
                return
            if frame == self._rolling.to_frame:
                del self.used[frame:], self.states[frame + 1 :]
                self.pending = None
        else:
            demand(5, self.pending is None, f"frame {frame} stepped while a rollback to {self.pending} is due")
        demand(1, frame == len(self.used), f"frame {frame} simulated where {len(self.used)} was due")
        demand(6, state == self.states[frame], f"frame {frame} was simulated from a wrong state")
        known, window = self.remote_known, self.setup.window
        demand(7, frame - known <= window, f"frame {frame} simulated, inputs known to {known}, window {window}")
        guessed = False
        for player, value in enumerate(inputs):
            if frame < self.end(player):
                right = self.fact(player, frame)
                demand(4, value == right, f"frame {frame} simulated with {value!r} for player {player}, not {right!r}")
            else:
                guessed = True
                guess = self.guess(self.facts[player], frame)
                demand(5, value == guess, f"{value!r} predicted for player {player} at {frame}, not {guess!r}")
        if guessed:
            self.speculative.add(frame)
        self.simulated[frame] = self.simulated.get(frame, 0) + 1
        if self.latest.setdefault(frame, inputs) != inputs:
            # One of the two must have held a wrong guess, even if nobody had the time to notice.
            self.wrong.add(frame)
        self.latest[frame] = inputs
        self.used.append(inputs)
        self.states.append(following(state, inputs))
        if ends(state, inputs, self.toy.ends_from):
            self.terminal = frame

    def on_simulated(self, frame: int, inputs: JointInput, speculative: bool) -> None:
        self._reported += 1
        demand(RECORD, frame == len(self.used) - 1, f"frame {frame} reported where {len(self.used) - 1} was simulated")
        demand(RECORD, inputs == self.used[frame], f"frame {frame} reported with other inputs than it was stepped with")
        guessed = any(frame >= self.end(player) for player in range(self.setup.players))
        demand(RECORD, speculative == guessed, f"frame {frame} reported with speculative={speculative}")

    def on_rolling_back(self, event: Rollback) -> None:
        end = len(self.used)
        demand(1, event.at_frame == end, f"rollback from {event.at_frame}, the present frame is {end}")
        demand(5, event.to_frame == self.pending, f"rollback to {event.to_frame}, first incorrect is {self.pending}")
        wrong = [p for p in range(self.setup.players) if self._wrong_at(event.to_frame, p)]
        demand(5, event.player == wrong[0], f"rollback blamed on {event.player}, wrong were {wrong}")
        demand(5, event.predicted == self.used[event.to_frame][event.player], "predicted input misreported")
        demand(5, event.actual == self.fact(event.player, event.to_frame), "actual input misreported")
        self.rollbacks.append(event)

    def _finish_rollback(self, end: int) -> None:
        assert self._rolling is not None
        wanted = end if self.terminal is None else self.terminal + 1
        demand(1, len(self.used) == wanted, f"a rollback from {end} ended at {len(self.used)}")
        self.undone += self._ended is not None and self.terminal is None
        self._rolling = None

    def on_promoted(
        self, frame: int, inputs: JointInput, sources: tuple[int, ...], snapshot: State | None, digest: int
    ) -> None:
        if self._rolling is not None:
            self._finish_rollback(self._old_end)
        demand(4, frame == self.canonical, f"frame {frame} became canonical where {self.canonical} was due")
        demand(4, frame <= self.known, f"frame {frame} became canonical, inputs are known to {self.known}")
        demand(4, frame < len(self.used), f"frame {frame} became canonical before it was simulated")
        players = range(self.setup.players)
        facts = tuple(self.fact(player, frame) for player in players)
        filled = tuple(self.source(player, frame) for player in players)
        demand(4, sources == filled, f"frame {frame}: sources {sources}, expected {filled}")
        demand(4, inputs == facts, f"frame {frame} became canonical with {inputs}, its inputs are {facts}")
        demand(4, self.used[frame] == facts, f"frame {frame} became canonical, but was simulated with other inputs")
        self._extend_truth(frame + 1)
        state = self.truth[frame + 1]
        if snapshot is not None:
            demand(4, snapshot == state, f"frame {frame} became canonical with a wrong state")
            demand(9, digest == state_digest(state), f"the digest of S_{frame + 1} is not that state's")
        self.canonical = frame + 1

    def _extend_truth(self, end: int) -> None:
        while len(self.truth) <= end:
            frame = len(self.truth) - 1
            facts = tuple(self.fact(player, frame) for player in range(self.setup.players))
            self.truth.append(following(self.truth[frame], facts))
            demand(4, self.truth[frame + 1] == self.states[frame + 1], f"S_{frame + 1} is not what the facts give")


class _Watched:
    """The toy as the session sees it."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def step(self, inputs: JointInput) -> Outcome:
        self._harness.on_step(self._harness.toy.state, inputs)
        return self._harness.toy.step(inputs)

    def save(self) -> State:
        return self._harness.toy.save()

    def load(self, snapshot: State) -> None:
        self._harness.on_load(snapshot)
        self._harness.toy.load(snapshot)

    def digest(self, snapshot: State) -> int:
        return self._harness.toy.digest(snapshot)


class _Listener:
    """The real recorder behind checks."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    @property
    def _recorder(self) -> EpisodeRecorder:
        recorder = self._harness.recorder
        assert recorder is not None
        return recorder

    def simulated(self, frame: int, inputs: JointInput, speculative: bool, outcome: Outcome, saved: bool) -> None:
        self._harness.on_simulated(frame, inputs, speculative)
        self._recorder.simulated(frame, inputs, speculative, outcome, saved)

    def repeated(self, frame: int) -> None:
        self._recorder.repeated(frame)

    def mispredicted(self, frame: int, player: int) -> None:
        self._harness.heard.append((frame, player))
        self._recorder.mispredicted(frame, player)

    def rolling_back(self, event: Rollback) -> None:
        self._harness.on_rolling_back(event)
        self._recorder.rolling_back(event)

    def promoted(
        self, frame: int, inputs: JointInput, sources: tuple[int, ...], snapshot: State | None, digest: int
    ) -> None:
        self._harness.on_promoted(frame, inputs, sources, snapshot, digest)
        self._recorder.promoted(frame, inputs, sources, snapshot, digest)
