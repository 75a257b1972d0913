"""Each invariant of a session has a mutation of the code that its property notices, and for the right reason.

A property that cannot fail proves nothing. Here the code is broken on purpose, one small way at a time, and the
machine of ``test_session_machine`` must fail with the number of exactly the invariant that was broken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import Phase

from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.checksums import ChecksumBook
from rollgym.client_sim.rollback.errors import InputGap
from rollgym.client_sim.rollback.input_book import InputBook
from rollgym.client_sim.rollback.input_queue import REAL, InputQueue
from rollgym.client_sim.rollback.prediction.rule import InputHistory
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.snapshots import SnapshotStore
from tests.rollback.harness import RECORD, Broken
from tests.rollback.test_session_machine import run_machine

Patch = Callable[[pytest.MonkeyPatch], None]

MUTATIONS: list[tuple[tuple[int, ...], str, Patch]] = []


def mutation(*invariants: int, what: str) -> Callable[[Patch], Patch]:
    """Register a mutation; ``what`` is what the code does wrong then, and one of ``invariants`` shows it first."""

    def register(patch: Patch) -> Patch:
        MUTATIONS.append((invariants, what, patch))
        return patch

    return register


# -- 1: the present frame --------------------------------------------------------------------------------------------


@mutation(1, 5, what="a rollback stops one frame before it began")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._resimulate
    patch.setattr(Session, "_resimulate", lambda self, start, target, end: original(self, start, target, end - 1))


@mutation(1, what="a rollback goes one frame beyond where it began")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._resimulate

    def beyond(self: Session, start: int, target: int, end: int) -> int:
        self._used.append(self._used[-1])
        return original(self, start, target, end + 1)

    patch.setattr(Session, "_resimulate", beyond)


# -- 2: what is loaded -----------------------------------------------------------------------------------------------


@mutation(2, what="the newest snapshot is loaded, even if it is later than the rollback's target")
def _(patch: pytest.MonkeyPatch) -> None:
    def newest(self: SnapshotStore, frame: int) -> tuple[int, Any]:
        return self._frames[-1], self._states[self._frames[-1]]

    original = Session._roll_back

    def roll_back(self: Session, target: int) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(SnapshotStore, "latest", newest)
            original(self, target)

    patch.setattr(Session, "_roll_back", roll_back)


# -- 3: inputs are facts ---------------------------------------------------------------------------------------------


@mutation(3, what="a later value for a known frame overwrites the first")
def _(patch: pytest.MonkeyPatch) -> None:
    def check(self: InputQueue, player: int, start: int, values: Sequence[bytes], sources: object = None) -> int:
        if start > self.next:
            raise InputGap(player, start, self.next)
        known = min(self.next - start, len(values))
        for frame in range(max(start, self.base), start + known):
            self.values[frame - self.base] = values[frame - start]
        return known

    patch.setattr(InputQueue, "check", check)


@mutation(3, what="a gap is taken for the next frame")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputQueue.check
    patch.setattr(
        InputQueue,
        "check",
        lambda self, player, start, values, more=None: original(self, player, min(start, self.next), values, more),
    )


@mutation(3, what="inputs are taken in one by one, until one is refused")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session.add_inputs

    def one_by_one(self: Session, player: int, start: int, values: Sequence[bytes], sources: Any = None) -> int:
        told = [0] * len(values) if sources is None else sources
        pairs = zip(values, told, strict=False)
        return sum(original(self, player, frame, [value], [one]) for frame, (value, one) in enumerate(pairs, start))

    patch.setattr(Session, "add_inputs", one_by_one)


@mutation(3, what="the confirmed frame is that of the fastest player")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputBook._note_remote

    def note_remote(self: InputBook) -> None:
        original(self)
        self.confirmed = max(queue.last for queue in self.queues)

    patch.setattr(InputBook, "_note_remote", note_remote)


# -- 4: what becomes canonical ---------------------------------------------------------------------------------------


@mutation(4, what="frames are promoted before the pending rollback")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session.settle

    def settle(self: Session) -> SessionProgress:
        final = min(self.confirmed, self.current - 1)
        if final >= self.canonical:
            self._promote(final)
        return original(self)

    patch.setattr(Session, "settle", settle)


@mutation(4, what="one frame more than is confirmed is promoted")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._promote
    patch.setattr(InputQueue, "_beyond", lambda self, frame: self.default)
    patch.setattr(Session, "_promote", lambda self, final: original(self, min(final + 1, self.current - 1)))


@mutation(4, what="the newest confirmed frame is never promoted")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._promote
    patch.setattr(Session, "_promote", lambda self, final: original(self, final - 1))


@mutation(4, what="a rollback simulates with the old inputs again")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._resimulate
    patch.setattr(Session, "_resimulate", lambda self, start, target, end: original(self, start, end, end))


@mutation(4, 6, what="snapshots of an earlier, wrong simulation stay after a rollback")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._roll_back

    def roll_back(self: Session, target: int) -> None:
        before = dict(self._snapshots._states)
        original(self, target)
        for frame in [frame for frame in self._snapshots._states if frame > target + 1 and frame > self.confirmed + 1]:
            self._snapshots._states[frame] = before.get(frame, self._snapshots._states[frame])

    patch.setattr(Session, "_roll_back", roll_back)


# -- 5: what is wrong, and what is guessed ---------------------------------------------------------------------------


@mutation(5, what="the first incorrect frame is the highest one")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._verify

    def verify(self: Session, player: int, frame: int, value: bytes) -> None:
        before, self._first_incorrect = self._first_incorrect, None
        original(self, player, frame, value)
        if self._first_incorrect is None:
            self._first_incorrect = before

    patch.setattr(Session, "_verify", verify)


@mutation(5, RECORD, what="a wrong prediction of the last player goes unnoticed")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._verify

    def verify(self: Session, player: int, frame: int, value: bytes) -> None:
        if player != len(self.queues) - 1:
            original(self, player, frame, value)

    patch.setattr(Session, "_verify", verify)


@mutation(5, what="a prediction depends on how often it was made")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session.__init__

    def init(self: Session, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        predict, asked = self._predict, [0]

        def impure(history: InputHistory, frame: int) -> bytes:
            asked[0] += 1
            return predict(history, frame) if asked[0] % 5 else b"\x02"

        self._predict = impure

    patch.setattr(Session, "__init__", init)


# -- 6: nothing needed is discarded ----------------------------------------------------------------------------------


@mutation(6, what="the anchor's own snapshot is discarded")
def _(patch: pytest.MonkeyPatch) -> None:
    def discard(self: SnapshotStore, anchor: int) -> None:
        while len(self._frames) > 1 and self._frames[0] <= anchor:
            del self._states[self._frames.popleft()]

    patch.setattr(SnapshotStore, "discard", discard)


@mutation(6, what="the snapshot before the anchor is discarded, where the anchor itself has none")
def _(patch: pytest.MonkeyPatch) -> None:
    def discard(self: SnapshotStore, anchor: int) -> None:
        while len(self._frames) > 1 and self._frames[0] < anchor:
            del self._states[self._frames.popleft()]

    patch.setattr(SnapshotStore, "discard", discard)


@mutation(6, what="inputs are trimmed up to the newest known one, simulated or not")
def _(patch: pytest.MonkeyPatch) -> None:
    def trim(self: InputQueue, before: int) -> None:
        self.base += len(self.values)
        self.values.clear()

    patch.setattr(InputQueue, "trim", trim)


# -- 7: how far it goes ----------------------------------------------------------------------------------------------


@mutation(7, what="one frame beyond the prediction window is simulated")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Session,
        "_may_simulate",
        lambda self: self.current - self.inputs.remote_known <= self.settings.max_prediction + 1,
    )


@mutation(7, what="play goes on beyond a terminal frame")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._progress

    def progress(self: Session) -> SessionProgress:
        said = original(self)
        return SessionProgress.READY if said is SessionProgress.TERMINAL and self._may_simulate() else said

    patch.setattr(Session, "_progress", progress)


@mutation(7, what="the episode is over at a terminal frame that may still change")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._progress

    def progress(self: Session) -> SessionProgress:
        said = original(self)
        return SessionProgress.OVER if said is SessionProgress.TERMINAL else said

    patch.setattr(Session, "_progress", progress)


@mutation(7, what="a rollback does not take a guessed terminal frame away")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._roll_back

    def roll_back(self: Session, target: int) -> None:
        before = self._terminal
        original(self, target)
        self._terminal = before if before is not None and before < self.current else self._terminal

    patch.setattr(Session, "_roll_back", roll_back)


# -- 9: checksums ----------------------------------------------------------------------------------------------------


@mutation(9, what="checksums are never compared")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ChecksumBook, "compare", lambda self: None)


@mutation(9, what="a frame's digest is taken when it is simulated, whatever it was simulated with")
def _(patch: pytest.MonkeyPatch) -> None:
    original, own = Session.step, ChecksumBook.own

    def step(self: Session, inputs: Sequence[bytes], source: int = REAL) -> None:
        original(self, inputs, source)
        if self._digest_every:
            self.checksums.own(self.current, self._simulation.digest(self._simulation.save()))

    def first(self: ChecksumBook, frame: int, digest: int) -> None:
        if frame not in self._own:
            own(self, frame, digest)

    patch.setattr(ChecksumBook, "own", first)
    patch.setattr(Session, "step", step)


@mutation(9, what="every mismatch is reported again")
def _(patch: pytest.MonkeyPatch) -> None:
    original = ChecksumBook.take

    def take(self: ChecksumBook) -> list[Any]:
        found = original(self)
        self.found = list(found)
        return found

    patch.setattr(ChecksumBook, "take", take)


@mutation(4, 5, RECORD, what="the input of a player who left is not the default but its last one")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputQueue.close

    def close(self: InputQueue, after: int) -> None:
        original(self, after)
        self.default = self.values[-1] if self.values else self.default

    patch.setattr(InputQueue, "close", close)


@mutation(4, what="inputs filled in for a player who was away count as its own")
def _(patch: pytest.MonkeyPatch) -> None:
    original = InputQueue.append
    patch.setattr(InputQueue, "append", lambda self, value, source=REAL: original(self, value))


@mutation(4, what="frames beyond the agreed end become canonical")
def _(patch: pytest.MonkeyPatch) -> None:
    original = Session._promote

    def promote(self: Session, final: int) -> None:
        original(self, min(self.confirmed, self.current - 1) if self._last_frame is not None else final)

    patch.setattr(Session, "_promote", promote)


# -- the record ------------------------------------------------------------------------------------------------------


@mutation(RECORD, what="was_speculative is true for every row")
def _(patch: pytest.MonkeyPatch) -> None:
    original = EpisodeRecorder.simulated

    def simulated(self: EpisodeRecorder, frame: int, inputs: Any, speculative: bool, outcome: Any, saved: bool) -> None:
        original(self, frame, inputs, True, outcome, saved)

    patch.setattr(EpisodeRecorder, "simulated", simulated)


@mutation(RECORD, what="mispredictions are not noted")
def _(patch: pytest.MonkeyPatch) -> None:
    original = EpisodeRecorder.own_columns

    def own_columns(self: EpisodeRecorder) -> Any:
        for history in self.history:
            history.mispredicted = False
        return original(self)

    patch.setattr(EpisodeRecorder, "own_columns", own_columns)


# -- 11 --------------------------------------------------------------------------------------------------------------


@mutation(11, what="inputs beyond the present frame are forgotten")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_may_simulate", lambda self: self.current < 20 and self.current <= self.inputs.remote_known)
    patch.setattr("tests.rollback.harness.Harness.expected_progress", lambda self: self.session._progress())


@pytest.mark.parametrize(
    ("invariants", "patch"), [(n, p) for n, _, p in MUTATIONS], ids=[f"{n[0]}: {what}" for n, what, _ in MUTATIONS]
)
def test_mutation_is_noticed(invariants: tuple[int, ...], patch: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    patch(monkeypatch)
    with pytest.raises(Broken) as caught:
        run_machine(examples=250, phases=[Phase.generate], report_multiple_bugs=False)
    assert caught.value.invariant in invariants, str(caught.value)


def test_every_invariant_has_a_mutation() -> None:
    assert {n for invariants, _, _ in MUTATIONS for n in invariants} == {RECORD, 1, 2, 3, 4, 5, 6, 7, 9, 11}
