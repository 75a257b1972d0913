"""The gate between the two buffers, on a bare session: nothing passes that is not a fact, and facts stay."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.client_sim.record.buffers import CanonicalBuffer, Row, SpeculativeBuffer
from rollgym.client_sim.record.export import make_tail
from rollgym.client_sim.rollback.errors import (
    InputConflict,
    InputGap,
    InputTooFarAhead,
    InputWidth,
    InvariantViolation,
    NotReady,
    RollbackError,
    UnknownPlayer,
)
from rollgym.client_sim.rollback.session import SessionProgress
from rollgym.games.contract import Outcome
from rollgym.games.record.columns import CanonicalBuilder
from tests.record.bench import Bench, random_schedule, replayed, rows
from tests.record.probe import Probe

OUTCOME = Outcome((9.0, 9.0), (False, False), (False, False), ({"poison": 1}, {}), False)


def run_ahead(bench: Bench, frames: int) -> None:
    for _ in range(frames):
        bench.tick()


# -- REC-01, REC-02 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save_every", [1, 3])
@pytest.mark.parametrize("delay", [0, 2])
def test_rec_01_rec_02_hold_after_every_call_of_random_schedules(save_every: int, delay: int) -> None:
    for seed in range(6):
        random_schedule(seed, save_every=save_every, delay=delay)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 10)), max_size=40),
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 5]),
    st.integers(0, 3),
    st.sampled_from([1, 3]),
)
def test_rec_01_rec_02_property(
    schedule: list[tuple[int, int, int]], seed: int, save_every: int, delay: int, hold: int
) -> None:
    bench = Bench(seed=seed, save_every=save_every, delay=delay, hold=hold, limit=24)
    for arriving, again, ticks in schedule:
        if arriving:
            bench.deliver(arriving, again=again)
        run_ahead(bench, ticks)
    twin = bench.finish()
    assert rows(twin, 24) == rows(replayed(bench.mine, bench.theirs, 24, save_every, seed), 24)


def test_rec_01_a_frame_is_in_the_speculative_buffer_as_soon_as_it_is_simulated() -> None:
    bench = Bench()
    for frame in range(6):
        assert bench.settle() is SessionProgress.READY
        bench.session.step([b"\1"])
        assert bench.recorder.speculative.end == frame + 1
        row = bench.recorder.speculative.row(frame)
        assert row.inputs == bench.log.steps[-1].inputs
        assert bench.recorder.canonical.frames == 0


def test_rec_02_a_frame_is_canonical_when_the_last_missing_input_arrives_and_not_before() -> None:
    bench = Bench()
    run_ahead(bench, 5)
    bench.deliver(2)
    assert bench.recorder.canonical.frames == 0, "arrived, but the rollback is still due"
    bench.settle()
    assert bench.recorder.canonical.frames == 2
    bench.settle()
    assert bench.recorder.canonical.frames == 2


def test_rec_02_a_misprediction_that_arrives_while_waiting_at_the_end_is_corrected_before_it_is_recorded() -> None:
    # The last frames are all guesses, the session waits at the terminal frame; then the real inputs come.
    bench = Bench(limit=12, window=20)
    run_ahead(bench, 14)
    assert bench.progress is SessionProgress.TERMINAL
    assert bench.session.current == 12
    bench.deliver(12)
    assert bench.recorder.canonical.frames == 0
    assert bench.settle() is SessionProgress.OVER
    assert len(bench.recorder.rollbacks) == 1
    final = bench.recorder.build()
    assert rows(final, 12) == rows(replayed(bench.mine, bench.theirs, 12, 1), 12)


def test_rec_02_the_canonical_buffer_itself_refuses_a_row_that_was_simulated_with_other_inputs() -> None:
    game = Probe()
    buffer = CanonicalBuffer(CanonicalBuilder(game.spec))
    buffer.start(game.reset(1), game.observe(), 0)
    row = Row((b"\1", b"\2"), OUTCOME)
    with pytest.raises(InvariantViolation, match="simulated with"):
        buffer.append(0, row, (b"\1", b"\3"), (0, 0), game.observe(), 0)
    with pytest.raises(InvariantViolation, match="frame 1 became canonical where frame 0 was due"):
        buffer.append(1, row, row.inputs, (0, 0), game.observe(), 0)
    assert buffer.frames == 0
    buffer.append(0, row, row.inputs, (0, 0), game.observe(), 0)
    assert buffer.frames == 1


# -- REC-03 --------------------------------------------------------------------------------------------------------


def test_rec_03_export_reads_the_canonical_buffer_only() -> None:
    for seed in range(8):
        draw = random.Random(seed)
        bench = Bench(seed=seed)
        bench.deliver(draw.randrange(10))
        run_ahead(bench, draw.randrange(8, 20))
        frames = bench.session.canonical
        before = bench.recorder.build()
        speculative = bench.recorder.speculative.rows()
        assert speculative, "there are rows that could leak"
        for row in speculative:
            row.inputs, row.outcome, row.observations = (b"\x0f", b"\x0f"), OUTCOME, None
        after = bench.recorder.build()
        assert after.columns["frame"].shape == (frames,)
        assert after == before
        assert not any(info.key == "poison" for info in after.infos)


def test_rec_03_what_is_not_canonical_is_in_the_tail_with_what_is_known_of_it() -> None:
    bench = Bench(delay=0)
    bench.deliver(3)
    run_ahead(bench, 9)
    tail = make_tail(bench.recorder, bench.session)
    assert tail is not None
    assert (tail.start, len(tail.inputs)) == (3, 6)
    assert tail.real == [(True, False)] * 6
    # Known by now, but played with a guess: still not real.
    bench.deliver(1)
    tail = make_tail(bench.recorder, bench.session)
    assert tail is not None
    assert (tail.start, tail.real[0]) == (3, (True, False))
    bench.deliver(40)
    run_ahead(bench, 60)
    assert bench.progress is SessionProgress.OVER
    assert make_tail(bench.recorder, bench.session) is None


# -- REC-05 --------------------------------------------------------------------------------------------------------


def test_rec_05_a_rollback_clears_everything_from_its_target_on() -> None:
    # `Watched` looks at both buffers in the middle of every rollback.
    bench = random_schedule(3)
    assert len(bench.recorder.rollbacks) > 5


def test_rec_05_a_canonical_frame_at_or_above_the_target_is_reported_and_nothing_is_lost() -> None:
    bench = Bench()
    bench.deliver(6)
    run_ahead(bench, 10)
    before = bench.fingerprint()
    assert bench.session.canonical == 6
    with pytest.raises(InvariantViolation, match="rollback to frame 4, but 6 frames are canonical"):
        bench.session._roll_back(4)
    with pytest.raises(InvariantViolation, match="frames below 6 are canonical"):
        bench.recorder.speculative.clear_from(5)
    assert bench.fingerprint() == before
    bench.finish()


def test_rec_05_speculative_rows_have_no_gaps_and_leave_in_order() -> None:
    buffer = SpeculativeBuffer()
    row = Row((b"\1", b"\2"), OUTCOME)
    buffer.add(0, row)
    for frame in (0, 2):
        with pytest.raises(InvariantViolation, match="where frame 1 was due"):
            buffer.add(frame, row)
    with pytest.raises(InvariantViolation, match=r"frame 1 promoted, but the speculative rows are 0\.\.0"):
        buffer.lowest(1)
    assert buffer.lowest(0) is row
    buffer.drop_lowest()
    with pytest.raises(InvariantViolation, match="promoted"):
        buffer.lowest(1)


def test_rollback_beyond_the_window_is_refused_with_nothing_lost() -> None:
    bench = Bench()
    bench.deliver(10)
    run_ahead(bench, 14)
    before = bench.fingerprint()
    other = bytes([(bench.theirs[4][0] + 1) % 16])
    with pytest.raises(InputConflict):
        bench.session.add_inputs(1, 4, [other])
    assert bench.fingerprint() == before
    bench.finish()


# -- REC-06 --------------------------------------------------------------------------------------------------------


def test_rec_06_clearing_empties_both_buffers_and_leaves_what_was_exported() -> None:
    bench = Bench()
    bench.deliver(9)
    run_ahead(bench, 14)
    canonical = bench.recorder.build()
    copy = rows(canonical, 9)
    assert bench.recorder.canonical.frames == 9
    assert bench.recorder.speculative.rows()
    bench.recorder.clear()
    assert bench.recorder.canonical.frames == 0
    assert bench.recorder.speculative.rows() == ()
    assert (bench.recorder.history, bench.recorder.rollbacks) == ([], [])
    assert rows(canonical, 9) == copy


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[type[RollbackError], Callable[[Bench], object]]] = {
    "gap": (InputGap, lambda b: b.session.add_inputs(1, b.delivered + 1, [b"\1"])),
    "conflict": (InputConflict, lambda b: b.session.add_inputs(1, 5, [bytes([b.theirs[5][0] ^ 1])])),
    "conflict behind new ones": (
        InputConflict,
        lambda b: b.session.add_inputs(1, b.delivered - 1, [bytes([b.theirs[b.delivered - 1][0] ^ 1]), b"\1"]),
    ),
    "width": (InputWidth, lambda b: b.session.add_inputs(1, b.delivered, [b"\1", b"\1\2"])),
    "empty input": (InputWidth, lambda b: b.session.add_inputs(1, b.delivered, [b""])),
    "too far": (InputTooFarAhead, lambda b: b.session.add_inputs(1, b.delivered, [b"\1"] * 40_000)),
    "negative": (InputTooFarAhead, lambda b: b.session.add_inputs(1, -1, [b"\1"])),
    "own player": (UnknownPlayer, lambda b: b.session.add_inputs(0, 0, [b"\1"])),
    "nobody": (UnknownPlayer, lambda b: b.session.add_inputs(2, 0, [b"\1"])),
    "stalled step": (NotReady, lambda b: b.session.step([b"\1"])),
    "cut in the past": (InputTooFarAhead, lambda b: b.session.disconnect(1, 3)),
    "cut in the future": (InputTooFarAhead, lambda b: b.session.disconnect(1, 300)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_session_and_record_as_they_were(case: str) -> None:
    error, call = REFUSED[case]
    bench = Bench()
    bench.deliver(8)
    run_ahead(bench, 30)
    assert bench.progress is SessionProgress.STALLED
    assert (bench.recorder.rollbacks, bench.session.canonical) == ([], 8)
    before = bench.fingerprint()
    with pytest.raises(error):
        call(bench)
    assert bench.fingerprint() == before
    bench.finish()


@pytest.mark.parametrize("inputs", [[], [b"\1", b"\1"], [b"\1\1"], [b""]])
def test_a_step_with_inputs_of_another_form_leaves_session_and_record_as_they_were(inputs: list[bytes]) -> None:
    bench = Bench()
    bench.deliver(4)
    run_ahead(bench, 6)
    before = bench.fingerprint()
    with pytest.raises((UnknownPlayer, InputWidth)):
        bench.session.step(inputs)
    assert bench.fingerprint() == before


def test_a_step_while_a_rollback_is_due_is_refused_and_the_rollback_is_not_lost() -> None:
    bench = Bench()
    run_ahead(bench, 5)
    bench.deliver(3)
    pending = bench.session.rollback_pending
    before = bench.fingerprint()
    assert pending is not None
    with pytest.raises(NotReady):
        bench.session.step([b"\1"])
    assert bench.fingerprint() == before
    bench.settle()
    assert [event.to_frame for event in bench.recorder.rollbacks] == [pending]
    bench.finish()


# -- rollbacks upon rollbacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("save_every", [1, 2, 7])
def test_two_cascading_rollbacks_then_a_frame_limit_give_exactly_that_many_rows(save_every: int) -> None:
    bench = Bench(limit=23, window=12, save_every=save_every)
    bench.deliver(6)
    run_ahead(bench, 16)
    bench.deliver(3)
    bench.settle()
    bench.deliver(2)
    bench.settle()
    events = bench.recorder.rollbacks
    assert len(events) == 2
    assert events[0].to_frame < events[1].to_frame < events[0].at_frame, "the second replays snapshots of the first"
    final = bench.finish()
    assert final.columns["frame"].shape == (23,)
    assert rows(final, 23) == rows(replayed(bench.mine, bench.theirs, 23, save_every), 23)
    assert max(step.frame for step in bench.log.steps) == 22


@pytest.mark.parametrize("withheld", [70, 200])
def test_one_input_withheld_for_many_frames_is_still_wanted_when_it_comes(withheld: int) -> None:
    bench = Bench(limit=withheld + 40, window=withheld + 20)
    bench.deliver(5)
    run_ahead(bench, withheld + 5)
    assert bench.session.confirmed == 4
    bench.deliver(1)
    bench.settle()
    assert bench.session.confirmed == 5
    assert bench.recorder.canonical.frames == 6
    assert bench.recorder.rollbacks[-1].depth >= withheld - 1
    final = bench.finish()
    frames = withheld + 40
    assert rows(final, frames) == rows(replayed(bench.mine, bench.theirs, frames, 1), frames)


def test_a_rollback_behind_the_anchor_leaves_earlier_confirmed_rows_unchanged() -> None:
    # Sparse snapshots: the replay starts at an older frame than the target, long after the first inputs were trimmed.
    bench = Bench(limit=1400, window=40, save_every=16, hold=3)
    bench.thorough = False
    started_before_target = 0
    for frame in range(1, 1330):
        if frame % 11 == 0:
            bench.deliver(11)
            known = rows(bench.recorder.build(), bench.session.canonical) if frame > 1250 else ()
            frames, loads = bench.session.canonical, len(bench.log.loads)
            bench.settle()
            if frame > 1250:
                assert rows(bench.recorder.build(), frames) == known
            if len(bench.log.loads) > loads:
                started_before_target += bench.log.loads[-1].frame < bench.recorder.rollbacks[-1].to_frame
        bench.tick()
    assert started_before_target > 20
    assert bench.session.queues[1].base > 0, "inputs were trimmed"
    final = bench.finish()
    assert rows(final, 1400) == rows(replayed(bench.mine, bench.theirs, 1400, 16), 1400)


def test_the_recorders_memory_beyond_the_episode_is_bounded_by_the_window() -> None:
    bench = Bench(limit=400, window=12)
    bench.thorough = False
    most = 0
    for _ in range(380):
        bench.deliver(1)
        bench.tick()
        most = max(most, len(bench.recorder.speculative.rows()), len(bench.recorder._seen))
    assert bench.session.canonical > 350
    assert most <= 13
