"""A partner that dies: what was really played is not lost, arrives flagged, and nothing is made up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollgym.client_sim.peer.events import PlayerGone
from rollgym.client_sim.peer.intake import LEAVE_GRACE
from rollgym.client_sim.simulator.scenario import Kill, Partition, Pause, Scenario
from rollgym.client_sim.simulator.simulator import EPOCH
from rollgym.games.policies.catalogue import make_policy
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Input
from tests.record.match import (
    Match,
    Play,
    Sent,
    TappedSimulator,
    assert_equal,
    assert_played,
    assert_sound,
    canonical_prefix,
    one_way,
)
from tests.rollback.toy import Toy


def survived(match: Match, survivor: int, episode: int = 0) -> int:
    """The frames of the survivor's export, checked against what reached it."""
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


@pytest.mark.parametrize("on_disconnect", ["end", "continue"])
def test_edge_02_idle_frames_of_a_third_player_who_dies_are_idle_for_all_survivors(on_disconnect: str) -> None:
    # Player 2 pauses, fills in the frames it missed, tells player 0 only, and dies. Player 0 hands them on.
    def tap(sent: Sent) -> Sequence[float]:
        lost = sent.source == 2 and sent.destination == 1 and sent.now > 2.0 and isinstance(sent.packet, Input)
        return () if lost else (sent.at,)

    settings = PlaySettings(
        frame_limit=240,
        away="play_on",
        on_disconnect="continue" if on_disconnect == "continue" else "end",
    )
    scenario = Scenario(
        settings,
        lambda: Toy(3),
        [lambda game, player: make_policy("random", game.spec, player, player)] * 3,
        seed=1,
        link=one_way(latency=0.03),
        pauses=[Pause(2, 1.0, 1.0)],
        kills=[Kill(2, 2.1)],
        notify_after=0.1,
    )
    result = TappedSimulator(scenario, tap).run()
    first, second = (result.players[player].exports[0] for player in (0, 1))
    assert_equal(first, second)
    sources = first.canonical.columns["input_source"].array()
    assert 20 < sources[:120, 2].sum() < 100
    assert first.header.frames == 240 if on_disconnect == "continue" else 60 < first.header.frames < 200
    assert [player.desyncs for player in result.players] == [[], [], []]
    assert all(export.own.rollbacks for export in (first, second))
