"""One player's inputs: facts without gaps, trimmed, closed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.rollback.errors import InputConflict, InputGap
from rollgym.client_sim.rollback.input_queue import GONE, HISTORY, IDLE, REAL, InputQueue


def filled(count: int) -> InputQueue:
    queue = InputQueue(b"\x00")
    for frame in range(count):
        queue.append(bytes((frame % 251,)))
    return queue


def test_a_new_queue_knows_nothing() -> None:
    queue = InputQueue(b"\x00")
    assert (queue.last, queue.next, queue.base) == (-1, 0, 0)
    with pytest.raises(IndexError):
        queue.value(0)
    with pytest.raises(IndexError):
        queue.value(-1)


def test_values_stay_what_they_were() -> None:
    queue = filled(700)
    assert (queue.last, queue.next) == (699, 700)
    assert [queue.value(frame) for frame in range(700)] == [bytes((frame % 251,)) for frame in range(700)]
    assert {queue.source(frame) for frame in range(700)} == {REAL}


@given(start=st.integers(0, 40), values=st.lists(st.binary(min_size=1, max_size=1), max_size=20))
def test_check_tells_known_from_new(start: int, values: list[bytes]) -> None:
    queue = filled(20)
    facts = [bytes((frame % 251,)) for frame in range(20)]
    overlap = list(zip(facts[start:], values, strict=False))
    if start > 20:
        with pytest.raises(InputGap) as gap:
            queue.check(3, start, values)
        assert (gap.value.player, gap.value.frame, gap.value.expected) == (3, start, 20)
    elif any(fact != value for fact, value in overlap):
        with pytest.raises(InputConflict) as conflict:
            queue.check(3, start, values)
        first = next(index for index, (fact, value) in enumerate(overlap) if fact != value)
        assert conflict.value == InputConflict(3, start + first, *overlap[first])
    else:
        assert queue.check(3, start, values) == len(overlap)
    assert queue.next == 20


def test_trimming_leaves_what_is_needed() -> None:
    queue = filled(2000)
    queue.trim(1500)
    assert queue.base == 1500
    assert queue.last == 1999
    assert queue.value(1500) == bytes((1500 % 251,))
    with pytest.raises(IndexError):
        queue.value(1499)
    assert queue.check(0, 0, [b"\xff"] * 1500) == 1500, "what was trimmed is taken on trust"
    with pytest.raises(InputConflict):
        queue.check(0, 1499, [b"\xff", b"\xff"])


def test_trimming_leaves_the_newest_for_predictors_and_waits_until_it_pays() -> None:
    queue = filled(2000)
    queue.trim(2000)
    assert queue.base == 2000 - HISTORY
    queue.trim(2000)
    queue.append(b"\x01")
    queue.trim(2001)
    assert queue.base == 2000 - HISTORY, "one entry is not worth a cut"
    kept = InputQueue(b"\x00", keep=1000)
    for _ in range(2000):
        kept.append(b"\x01")
    kept.trim(2000)
    assert kept.base == 1000


def test_a_closed_queue_idles_for_ever() -> None:
    queue = filled(10)
    queue.close(6)
    assert queue.last == InputQueue.FOREVER
    assert [queue.value(frame) for frame in (5, 6, 7, 8, 10**6)] == [b"\x05", b"\x06", b"\x00", b"\x00", b"\x00"]
    assert [queue.source(frame) for frame in (5, 6, 7, 10**6)] == [REAL, REAL, GONE, GONE]


def test_inputs_filled_in_are_marked() -> None:
    queue = filled(3)
    queue.append(b"\x00", IDLE)
    queue.append(b"\x02")
    assert [queue.source(frame) for frame in range(5)] == [REAL, REAL, REAL, IDLE, REAL]
    for _ in range(2000):
        queue.append(b"\x01")
    queue.trim(1000)
    assert not queue.idle, "marks go with the frames they are for"
