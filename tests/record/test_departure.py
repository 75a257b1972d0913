"""A partner that dies: what was really played is not lost, arrives flagged, and nothing is made up."""

from __future__ import annotations

import pytest

from client_sim.events import PlayerGone
from client_sim.peer import LEAVE_GRACE
from client_sim.simulator import EPOCH, Kill, Partition, Pause
from tests.record.match import Match, Play, assert_played, assert_sound, canonical_prefix


def survived(match: Match, survivor: int, episode: int = 0) -> int:
    """The frames of the survivor's export, checked against what reached him."""
    export = match.export(survivor, episode)
    assert_sound(match, survivor, export)
    assert match.rollbacks(survivor) > 0
    frames = export.header.frames
    assert frames == match.heard(survivor, episode) + 1, "every frame whose inputs arrived, and no other"
    ended, tail = match.ended(survivor, episode), export.own.tail
    assert (ended.status, ended.frames) == (export.header.status, frames)
    assert ended.unconfirmed == (len(tail.inputs) if tail is not None else 0)
    return frames


@pytest.mark.parametrize("dead", [0, 1])
@pytest.mark.parametrize("notify_after", [None, 0.2])
def test_edge_02_the_confirmed_prefix_of_a_survivor_arrives_flagged(dead: int, notify_after: float | None) -> None:
    match = Play(faults={"kills": [Kill(dead, 2.0)], "notify_after": notify_after})()
    survivor = 1 - dead
    assert match.exports(dead) == []
    assert survived(match, survivor) > 90
    export = match.export(survivor)
    assert export.header.status == ("partner_silent" if notify_after is None else "partner_left")
    assert export.own.tail is not None
    assert len(export.own.tail.inputs) == match.plan.window
    left = [event for event in match.result.players[survivor].events if isinstance(event, PlayerGone)]
    assert [event.player for event in left] == [dead], "player 0 is a player like any other"
    waited = match.plan.timeout if notify_after is None else notify_after + LEAVE_GRACE
    assert export.own.ended_at - EPOCH == pytest.approx(2.0 + waited, abs=0.2)


@pytest.mark.parametrize("dead", [0, 1])
def test_edge_02_a_partner_killed_at_any_moment_leaves_whole_episodes_and_a_prefix(dead: int) -> None:
    clean = Play(frames=40, episodes=3)()
    statuses = set()
    for moment in range(20):
        at = 0.2 + 0.17 * moment
        match = Play(frames=40, episodes=3, faults={"kills": [Kill(dead, at)], "notify_after": 0.1})()
        exports = match.exports(1 - dead)
        assert exports, f"killed at {at} s"
        for export in exports:
            assert_sound(match, 1 - dead, export)
            statuses.add(export.header.status)
            frames = export.header.frames
            # Until the death it was the same match as the one without.
            twin = clean.export(1 - dead, export.header.episode)
            assert canonical_prefix(export, frames) == canonical_prefix(twin, frames)
        assert all(export.header.status == "complete" for export in exports[:-1])
    assert statuses == {"complete", "partner_left"}


def test_edge_02_frames_of_a_partner_that_died_during_our_own_pause_are_not_lost() -> None:
    # Everything it sent lies in the socket; it is all there after the pause, and the silence counts from then on.
    match = Play(window=60, faults={"kills": [Kill(1, 2.0)], "pauses": [Pause(0, 1.4, 6.0)]})()
    assert survived(match, 0) > 100
    assert match.export(0).header.status == "partner_silent"
    assert match.export(0).own.ended_at - EPOCH == pytest.approx(1.4 + 6.0 + 5.0, abs=0.7)


@pytest.mark.parametrize("player", [0, 1])
def test_edge_02_a_silent_partner_that_comes_back_too_late_has_the_same_frames(player: int) -> None:
    match = Play(timeout=1.0, faults={"partitions": [Partition(1.5, 3.0, player)]})()
    assert_played(match, frames=60)
    frames = [match.export(p).header.frames for p in (0, 1)]
    assert all(export.header.status.startswith("partner_") for p in (0, 1) for export in match.exports(p))
    shorter = min(frames)
    assert canonical_prefix(match.export(0), shorter) == canonical_prefix(match.export(1), shorter)
    assert sum(frames) < 2 * 180


def test_a_partner_that_never_comes_gives_no_export_and_an_end() -> None:
    match = Play(faults={"kills": [Kill(1, 0.0)], "notify_after": 0.3})()
    assert match.exports(0) == []
    assert match.result.players[0].ended == "left"


def test_edge_02_with_sparse_snapshots_the_prefix_is_the_same() -> None:
    frames = []
    for every in (1, 4):
        match = Play(save_every=every, faults={"kills": [Kill(1, 2.0)]})()
        frames.append(survived(match, 0))
    assert frames[0] == frames[1]
