"""One session under any order of calls: invariants 1 to 7 and 9 of the architecture, against independent books."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from rollgym.client_sim.rollback.errors import (
    InputConflict,
    InputGap,
    InputRefused,
    InputTooFarAhead,
    InputWidth,
    SettingsError,
    UnknownPlayer,
)
from rollgym.client_sim.rollback.input_book import MAX_AHEAD
from rollgym.client_sim.rollback.input_queue import IDLE
from rollgym.client_sim.rollback.session import SessionProgress
from tests.rollback.harness import Harness, Setup, demand
from tests.rollback.predictors import PREDICTORS
from tests.rollback.toy import VALUES, state_digest

EXPLORING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"

EXAMPLES = 10_000 if EXPLORING else 250

FLOOR = 24
"""Frames that must become canonical in every example, or the episode must have ended."""

inputs = st.integers(0, VALUES - 1).map(lambda value: bytes((value,)))


@st.composite
def setups(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Setup:
    """Every kind of session there is."""
    players = draw(st.integers(2, 4))
    local = draw(st.sets(st.integers(0, players - 1), min_size=1, max_size=players - 1))
    every = draw(st.integers(1, 5))
    return Setup(
        players=players,
        local=tuple(sorted(local)),
        window=draw(st.one_of(st.integers(0, 12), st.integers(1, 12), st.just(200))),
        save_every=every,
        checksum_interval=every * draw(st.sampled_from([0, 1, 1, 2, 4])),
        delay=draw(st.integers(0, 4)),
        predictor=draw(st.sampled_from(sorted(PREDICTORS))),
        ends_from=draw(st.one_of(st.none(), st.integers(0, 40))),
        recorded=draw(st.sampled_from([True, True, True, False])),
        seed=draw(st.integers(0, 3)),
    )


def somebody_is_there(harness: Harness) -> bool:
    return len(harness.left) < len(harness.remote)


class SessionMachine(RuleBasedStateMachine):
    """``totals`` counts over all examples what was reached, so that a run can show that it tested something."""

    totals: ClassVar[Counter[str]] = Counter()

    @initialize(setup=setups())
    def begin(self, setup: Setup) -> None:
        self.harness = Harness(setup)
        self.over = False

    # -- facts arrive --------------------------------------------------------------------------------------------

    @rule(data=st.data(), values=st.lists(inputs, min_size=1, max_size=12), repeated=st.integers(0, 6))
    def deliver(self, data: st.DataObject, values: Sequence[bytes], repeated: int) -> None:
        """In order, overlapping what is known, or nothing new at all."""
        self._deliver(data.draw(st.sampled_from(self.harness.remote)), values, repeated)

    @rule(data=st.data(), value=inputs, count=st.integers(1, 60))
    def deliver_many(self, data: st.DataObject, value: bytes, count: int) -> None:
        """A backlog, as after a pause."""
        values = [bytes(((value[0] + frame // 5) % VALUES,)) for frame in range(count)]
        self._deliver(data.draw(st.sampled_from(self.harness.remote)), values, 0)

    @rule(data=st.data(), values=st.lists(inputs, min_size=1, max_size=8))
    def deliver_idle(self, data: st.DataObject, values: Sequence[bytes]) -> None:
        """Some of them filled in for a player who was away."""
        player = data.draw(st.sampled_from(self.harness.remote))
        sources = data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values)))
        sent = [b"\x00" if source else value for value, source in zip(values, sources, strict=True)]
        self.harness.deliver(player, len(self.harness.facts[player]), sent, sources)

    def _deliver(self, player: int, values: Sequence[bytes], repeated: int) -> None:
        facts = self.harness.facts[player]
        start = max(0, len(facts) - repeated)
        self.harness.deliver(player, start, [*facts[start:], *values])
        self.harness.deliver(player, start, [*facts[start:]])

    # -- players leave -------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.harness.used) > 2)
    @rule(data=st.data(), back=st.integers(0, 12))
    def leave(self, data: st.DataObject, back: int) -> None:
        """One of the others is gone; nothing canonical may be touched, and what nobody knows cannot be agreed on."""
        harness = self.harness
        player = data.draw(st.sampled_from(harness.remote))
        session, last = harness.session, len(harness.facts[player]) - 1
        if player in harness.left:
            return
        harness.refuse(InputTooFarAhead, lambda: session.disconnect(player, last + 1))
        harness.refuse(UnknownPlayer, lambda: session.disconnect(harness.setup.local[0], last))
        if harness.canonical > 1:
            harness.refuse(InputTooFarAhead, lambda: session.disconnect(player, harness.canonical - 2))
        harness.leave(player, max(harness.canonical - 1, last - back))

    @precondition(lambda self: len(self.harness.used) > 15)
    @rule(more=st.integers(0, 10), seldom=st.integers(0, 1))
    def agree_on_the_end(self, more: int, seldom: int) -> None:
        harness = self.harness
        if seldom:
            return
        if harness.canonical > 1:
            harness.refuse(InputTooFarAhead, lambda: harness.session.end_after(harness.canonical - 2))
        harness.end_after(harness.canonical - 1 + more)

    # -- what must be refused ------------------------------------------------------------------------------------

    def _open(self, data: st.DataObject) -> int:
        """A remote player who is still there."""
        return data.draw(st.sampled_from([player for player in self.harness.remote if player not in self.harness.left]))

    @precondition(lambda self: somebody_is_there(self.harness))
    @rule(data=st.data(), gap=st.integers(1, 100), values=st.lists(inputs, min_size=1, max_size=3))
    def gap(self, data: st.DataObject, gap: int, values: Sequence[bytes]) -> None:
        player = self._open(data)
        start = len(self.harness.facts[player]) + gap
        error = self.harness.refuse(InputGap, lambda: self.harness.session.add_inputs(player, start, values))
        assert isinstance(error, InputGap)
        assert (error.player, error.frame, error.expected) == (player, start, start - gap)

    @rule(data=st.data(), value=inputs)
    def wrong_player(self, data: st.DataObject, value: bytes) -> None:
        strangers = [*self.harness.setup.local, -1, self.harness.setup.players, 99]
        player = data.draw(st.sampled_from(strangers))
        error = self.harness.refuse(UnknownPlayer, lambda: self.harness.session.add_inputs(player, 0, [value]))
        assert isinstance(error, UnknownPlayer)
        assert error.player == player

    @precondition(lambda self: somebody_is_there(self.harness))
    @rule(data=st.data(), value=st.sampled_from([b"", b"\x00\x01"]), good=st.lists(inputs, max_size=3))
    def wrong_width(self, data: st.DataObject, value: bytes, good: list[bytes]) -> None:
        player = self._open(data)
        start = len(self.harness.facts[player])
        session = self.harness.session
        error = self.harness.refuse(InputWidth, lambda: session.add_inputs(player, start, [*good, value]))
        assert isinstance(error, InputWidth)
        assert (error.player, error.value, error.width) == (player, value, 1)
        self.harness.refuse(SettingsError, lambda: session.add_inputs(player, start, [b"\x00"] * 3, [0, 0]))
        self._wrongly_filled_in(player, good)
        local = self.harness.setup.local
        self.harness.refuse(InputWidth, lambda: session.register([value] * len(local)))
        self.harness.refuse(UnknownPlayer, lambda: session.register([b"\x00"] * (len(local) + 1)))

    def _wrongly_filled_in(self, player: int, good: list[bytes]) -> None:
        """What was filled in is the default; and what an input is, filled in or not, never changes."""
        facts, session = self.harness.facts[player], self.harness.session
        sources, start = [0] * len(good) + [1], len(facts)
        error = self.harness.refuse(InputRefused, lambda: session.add_inputs(player, start, [*good, b"\x02"], sources))
        assert isinstance(error, InputRefused)
        assert (error.player, error.frame, error.value) == (player, start + len(good), b"\x02")
        if facts and facts[-1] == b"\x00":
            other = [int((player, start - 1) not in self.harness.idle)]
            self.harness.refuse(InputRefused, lambda: session.add_inputs(player, start - 1, [b"\x00"], other))

    @precondition(lambda self: somebody_is_there(self.harness))
    @rule(data=st.data(), back=st.integers(1, 5), new=st.lists(inputs, max_size=3))
    def conflict(self, data: st.DataObject, back: int, new: list[bytes]) -> None:
        """Another value for a known frame, with new inputs behind it: nothing of it may be taken in."""
        player = self._open(data)
        facts = self.harness.facts[player]
        if len(facts) < back:
            return
        start = len(facts) - back
        values = [bytes((facts[start][0] ^ 1,)), *facts[start + 1 :], *new]
        error = self.harness.refuse(InputConflict, lambda: self.harness.session.add_inputs(player, start, values))
        assert isinstance(error, InputConflict)
        assert (error.frame, error.known, error.other) == (start, facts[start], values[0])

    @precondition(lambda self: somebody_is_there(self.harness))
    @rule(data=st.data())
    def too_far(self, data: st.DataObject) -> None:
        player = self._open(data)
        start, session = len(self.harness.facts[player]), self.harness.session
        values = [b"\x01"] * (session.current + MAX_AHEAD + 2 - start)
        self.harness.refuse(InputTooFarAhead, lambda: session.add_inputs(player, start, values))
        self.harness.refuse(InputTooFarAhead, lambda: session.add_inputs(player, -1, values[:1]))

    # -- time passes ---------------------------------------------------------------------------------------------

    @rule(value=inputs, times=st.integers(1, 12))
    def tick(self, value: bytes, times: int) -> None:
        self._tick(value, times)

    @rule(value=inputs)
    def tick_long(self, value: bytes) -> None:
        """As far as the window goes, 60 frames at most."""
        self._tick(value, 60)

    def _tick(self, value: bytes, times: int) -> None:
        local = len(self.harness.setup.local)
        for at in range(times):
            values = [bytes(((value[0] + at // 3 + player) % VALUES,)) for player in range(local)]
            progress = self.harness.tick(values)
            if progress is not SessionProgress.READY:
                return

    @rule(known=st.integers(1, 3), times=st.integers(1, 8))
    def finale(self, known: int, times: int) -> None:
        """Everybody presses 3, which ends the episode where its rule allows it, for certain or by a guess."""
        for player in self.harness.remote[:known]:
            self._deliver(player, [b"\x03"], 0)
        for _ in range(times):
            self.harness.tick([b"\x03"] * len(self.harness.setup.local))

    @rule()
    def settle_twice(self) -> None:
        """The second one has nothing to do."""
        self.harness.settle()
        steps = dict(self.harness.simulated)
        self.harness.settle()
        demand(1, self.harness.simulated == steps, "settle without news simulated something")

    @rule(value=inputs)
    def register(self, value: bytes) -> None:
        """A local input is fixed before its frame can be simulated, as in lockstep."""
        self.harness.register([value] * len(self.harness.setup.local))

    @rule(data=st.data(), delay=st.integers(0, 6))
    def change_delay(self, data: st.DataObject, delay: int) -> None:
        session, setup = self.harness.session, self.harness.setup
        session.set_input_delay(data.draw(st.sampled_from(setup.local)), delay)
        self.harness.refuse(SettingsError, lambda: session.set_input_delay(setup.local[0], -1))
        self.harness.refuse(UnknownPlayer, lambda: session.set_input_delay(self.harness.remote[0], 1))

    @rule(times=st.integers(1, 5))
    def away(self, times: int) -> None:
        """The local players are not there: idle inputs stand in for them."""
        for _ in range(times):
            self.harness.tick([b"\x00"] * len(self.harness.setup.local), IDLE)

    # -- checksums -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.harness.setup.checksum_interval and self.harness.canonical)
    @rule(data=st.data(), honest=st.booleans())
    def checksum(self, data: st.DataObject, honest: bool) -> None:
        """Another player's word on a state that is canonical here, or will be."""
        harness = self.harness
        interval = harness.setup.checksum_interval
        player = data.draw(st.sampled_from(harness.remote))
        if honest:
            frame = data.draw(st.integers(1, harness.canonical))
            if frame > interval and data.draw(st.integers(0, 3)):
                frame -= frame % interval  # of others there is nothing to compare with
            if harness.lies is not None and frame == harness.lies[1]:
                return  # that would take the lie back before anybody compared it
            harness.tell_checksum(player, frame, state_digest(harness.truth[frame]))
        elif harness.lies is None:
            frame = (harness.canonical // interval + 1) * interval
            harness.lies = (player, frame, 1)
            harness.tell_checksum(player, frame, 1)

    # -- the floor -----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everything that is missing arrives, and the episode goes on."""
        if not hasattr(self, "harness") or sys.exc_info()[1] is not None:
            return  # something has failed already, and must not be covered up by what follows from it
        harness = self.harness
        goal = harness.canonical + FLOOR
        for at in range(1000):
            if harness.canonical >= goal or harness.settle() is SessionProgress.OVER:
                break
            for player in harness.remote:
                if harness.end(player) <= len(harness.used):
                    # Now and then all players send a 3, which may end the episode.
                    value = 3 if at % 8 >= 6 else (at // 3 + player) % VALUES
                    harness.deliver(player, len(harness.facts[player]), [bytes((value,))])
            harness.tick([bytes((3 if at % 8 >= 4 else at % VALUES,))] * len(harness.setup.local))
        harness.settle()
        harness.settle()
        over = harness.terminal is not None or harness.last_frame is not None
        demand(11, harness.canonical >= goal or over, f"stuck at {harness.canonical}")
        if harness.lies is not None and harness.lies[1] <= harness.canonical:
            demand(9, len(harness.desyncs) == 1, f"the lie {harness.lies} went unnoticed")
            self.totals["lies"] += 1
        harness.finish()
        self._count()

    def _count(self) -> None:
        harness, totals = self.harness, self.totals
        totals["examples"] += 1
        totals.update(harness.ticks)
        totals["canonical"] += harness.canonical
        totals["rollbacks"] += len(harness.rollbacks)
        totals["deep"] += sum(rollback.depth > 12 for rollback in harness.rollbacks)
        totals["sparse"] += sum(harness.setup.save_every > 1 for _ in harness.rollbacks)
        totals["lockstep"] += harness.setup.window == 0
        totals["checksums"] += harness.session.checksums.compared
        totals["undone"] += harness.undone
        totals["left"] += len(harness.left)
        totals["cut"] += harness.last_frame is not None
        totals["idle"] += len(harness.idle)
        totals["ended"] += harness.terminal is not None


def run_machine(examples: int, number: int = 0, steps: int = 30, **more: Any) -> Counter[str]:
    """A run with a fixed budget and seed. Returns what was reached."""
    SessionMachine.totals = Counter()
    run_state_machine_as_test(
        SessionMachine if EXPLORING else seed(number)(SessionMachine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )
    return SessionMachine.totals


FLOORS = {
    "canonical": 4_000,
    "rollbacks": 500,
    "deep": 100,
    "sparse": 100,
    "lockstep": 3,
    "STALLED": 100,
    "TERMINAL": 20,
    "OVER": 5,
    "ended": 10,
    "undone": 3,
    "left": 15,
    "cut": 4,
    "idle": 100,
    "lies": 5,
    "checksums": 10,
}

ROUNDS = 4
"""Hypothesis draws constants of all modules that happen to be imported, too, and so other examples in other company.
Rare things may take a second round then."""


def test_every_order_of_calls() -> None:
    totals: Counter[str] = Counter()
    short: dict[str, tuple[int, int]] = {}
    for number in range(ROUNDS):
        totals += run_machine(EXAMPLES, number)
        short = {name: (totals[name], floor) for name, floor in FLOORS.items() if totals[name] < floor}
        if not short:
            break
    assert totals["examples"] >= EXAMPLES
    assert not short, f"too little was reached (found, floor): {short}"
