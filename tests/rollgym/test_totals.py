"""Counters of many episodes, put together."""

from __future__ import annotations

from rollgym.running.totals import together, totals

FIRST = {
    "frames": 100,
    "confirmed_frames": 90,
    "ticks": 120,
    "stalls": 12,
    "rollbacks": 5,
    "rollback_depth_histogram": {"1": 4, "10": 1},
    "resimulated_frames": 14,
    "seconds": 2.0,
}
SECOND = {**FIRST, "rollback_depth_histogram": {"2": 5}, "resimulated_frames": 10, "stalls": 0}


def test_episodes_of_one_peer_add_up() -> None:
    found = totals([FIRST, SECOND])
    assert (found["frames"], found["confirmed_frames"], found["rollbacks"]) == (200, 180, 10)
    assert found["rollback_depth_histogram"] == {"1": 4, "2": 5, "10": 1}
    assert found["rollback_depth_max"] == 10
    assert found["stall_share"] == 12 / 240
    assert found["fps"] == 180 / 4
    assert found["resimulated_per_frame"] == 24 / 200


def test_peers_of_one_match_share_its_frames() -> None:
    found = together([totals([FIRST]), totals([SECOND])])
    assert (found["frames"], found["confirmed_frames"], found["seconds"]) == (100, 90, 2.0)
    assert (found["rollbacks"], found["resimulated_frames"], found["ticks"]) == (10, 24, 240)
    assert found["fps"] == 45
    assert found["resimulated_per_frame"] == 24 / 200


def test_nothing_played_divides_by_nothing() -> None:
    assert totals([])["fps"] == together([])["stall_share"] == 0.0
