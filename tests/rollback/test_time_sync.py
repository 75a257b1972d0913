"""Time synchronisation: the one ahead yields, and nothing swings."""

from __future__ import annotations

from collections import deque

import pytest

from rollgym.client_sim.rollback.time_sync import FASTEST, SLOWEST, TimeSync, stretch


def test_the_first_packet_counts_in_full() -> None:
    sync = TimeSync()
    sync.on_packet(6.0, 2.0)
    assert sync.ahead == 2.0


def test_both_sides_agree_who_is_ahead() -> None:
    one, two = TimeSync(), TimeSync()
    for _ in range(50):
        one.on_packet(7.0, 1.0)
        two.on_packet(1.0, 7.0)
    assert one.ahead == pytest.approx(3.0)
    assert two.ahead == pytest.approx(-3.0)


def test_stretch_is_bounded_and_still_near_balance() -> None:
    assert stretch(0.0) == stretch(0.4) == stretch(-0.4) == 1.0
    assert 1.0 < stretch(2.0) < stretch(5.0) <= stretch(100.0) == SLOWEST
    assert 1.0 > stretch(-2.0) > stretch(-4.0) >= stretch(-100.0) == FASTEST


@pytest.mark.parametrize(("there", "back"), [(0.0, 0.0), (0.05, 0.05), (0.1, 0.5), (0.25, 0.02)])
@pytest.mark.parametrize("head_start", [0.0, 0.5, -0.5, 2.0])
def test_two_clocks_meet_and_stay(there: float, back: float, head_start: float) -> None:
    """Two peers that only count frames: after some seconds both guess equally many frames, and it stays so."""
    period = 1 / 60
    due = [max(0.0, -head_start), max(0.0, head_start)]
    frame, heard, syncs = [0, 0], [0, 0], [TimeSync(), TimeSync()]
    delays = (there, back)
    flying: list[deque[tuple[float, int, float]]] = [deque(), deque()]  # towards each: (arrival, frame, advantage)
    uneven = []
    while max(due) < 60.0:
        me = 0 if due[0] <= due[1] else 1
        now = due[me]
        while flying[me] and flying[me][0][0] <= now:
            _, theirs, advantage = flying[me].popleft()
            heard[me] = theirs
            syncs[me].on_packet(frame[me] - theirs, advantage)
        frame[me] += 1
        flying[1 - me].append((now + delays[me], frame[me], syncs[me].local))
        due[me] = now + period * stretch(syncs[me].ahead)
        if now > 20.0:
            # Frames guessed at each side; the fair point is where they are equal.
            uneven.append((frame[0] - heard[0]) - (frame[1] - heard[1]))
    assert len(uneven) > 4000
    assert max(map(abs, uneven)) <= 6, "a difference of six guessed frames is one of three frames"
    middle = sum(uneven) / len(uneven)
    assert abs(middle) <= 3
