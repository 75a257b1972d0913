"""Which states are kept: every rollback that can still happen finds one at or before its target."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.rollback.errors import InvariantViolation
from rollgym.client_sim.rollback.snapshots import SnapshotStore


def store(frames: list[int]) -> SnapshotStore:
    kept = SnapshotStore(1)
    for frame in frames:
        kept.put(frame, f"S{frame}")
    return kept


frames = st.sets(st.integers(1, 60), max_size=20).map(lambda some: [0, *sorted(some)])


@given(frames=frames, target=st.integers(0, 70))
def test_latest_is_the_newest_at_or_before(frames: list[int], target: int) -> None:
    best = max(frame for frame in frames if frame <= target)
    assert store(frames).latest(target) == (best, f"S{best}")


@given(frames=frames, above=st.integers(0, 70))
def test_cut_forgets_what_is_later(frames: list[int], above: int) -> None:
    kept = store(frames)
    kept.cut(above)
    left = [frame for frame in frames if frame <= above]
    assert len(kept) == len(left)
    assert [kept.get(frame) for frame in frames] == [f"S{frame}" if frame <= above else None for frame in frames]
    kept.put(above + 1, "new")
    assert kept.latest(above + 1) == (above + 1, "new")


@given(frames=frames, anchor=st.integers(0, 70), target=st.integers(0, 70))
def test_discard_leaves_one_for_every_rollback_from_the_anchor_on(frames: list[int], anchor: int, target: int) -> None:
    kept = store(frames)
    kept.discard(anchor)
    assert len(kept) == 1 + sum(frame > anchor for frame in frames), "and no more than that"
    if target >= anchor:
        best = max(frame for frame in frames if frame <= target)
        assert kept.latest(target) == (best, f"S{best}")


def test_nothing_at_or_before_is_the_callers_defect() -> None:
    kept = store([5, 6])
    with pytest.raises(InvariantViolation, match="frame 4"):
        kept.latest(4)


def test_a_frame_saved_again_replaces_the_old_state() -> None:
    kept = store([0, 1, 2])
    kept.put(2, "again")
    assert len(kept) == 3
    assert kept.latest(9) == (2, "again")
