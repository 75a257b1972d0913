"""Where an episode ends, and how both peers come to agree on it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from rollgym.client_sim.peer.phase import PeerPhase
from rollgym.client_sim.simulator.scenario import Partition
from rollgym.protocol.packets import Bye, End, EndAck, Input
from tests.record.match import (
    Match,
    Play,
    Sent,
    TappedSimulator,
    actions,
    assert_played,
    assert_sound,
    canonical_prefix,
    one_way,
)
from tests.record.probe import GameLog, Holder, Probe, Tired


def ends_after(repeats: int) -> Callable[[GameLog, int], Probe]:
    return lambda log, player: Probe(repeats=repeats, log=log)


def speculative_ends(match: Match, player: int, frames: int) -> int:
    """Steps that ended an episode before its last frame: guesses that were taken back."""
    log = match.games[player]
    return sum(1 for at in log.ends if log.steps[at].frame != frames - 1)


# -- which frame is the last -----------------------------------------------------------------------------------------


def test_bound_01_a_guessed_end_is_taken_back_and_the_episode_goes_on() -> None:
    # Nobody plays the same action four times in a row, but every prediction does.
    match = Play(game=ends_after(4), frames=150)()
    assert_played(match, frames=150, complete=1, rollbacks=30)
    assert all(speculative_ends(match, player, 150) > 20 for player in (0, 1))


@pytest.mark.parametrize("network", ["constant_50", "mobile_3g", "terrible", "tcp_5"])
def test_bound_01_a_real_end_is_the_same_row_for_both_though_guesses_ended_it_elsewhere(network: str) -> None:
    match = Play(
        network=network,
        game=ends_after(4),
        frames=None,
        episodes=3,
        delay=1,
        policy=lambda player: Tired(player, 61 + 5 * player),
    )()
    assert_played(match, frames=66, complete=3)
    # Player 0 tires at frame 61, which is felt at 62: its fourth equal input is that of frame 65.
    assert [export.header.frames for export in match.exports(1)] == [66, 66, 66]
    assert sum(speculative_ends(match, player, 66) for player in (0, 1)) > 10


def test_bound_01_nothing_is_simulated_beyond_a_frame_that_ends_the_episode() -> None:
    match = Play(game=ends_after(4), frames=90, network=one_way(latency=0.11))()
    assert_played(match, frames=90, complete=1)
    for player in (0, 1):
        steps = match.games[player].steps
        assert max(step.frame for step in steps) == 89
        taken_back = {load.steps for load in match.games[player].loads}
        for at in match.games[player].ends[:-1]:
            assert at + 1 in taken_back, "the next thing after a guessed end is the rollback that takes it away"


# -- the last inputs -------------------------------------------------------------------------------------------------


def clean_end() -> float:
    """When the usual match of 180 frames is over at both peers, without any fault."""
    match = Play()()
    assert_played(match, frames=180, complete=1)
    return min(match.export(player).own.ended_at for player in (0, 1)) - 1_700_000_000.0


@pytest.mark.parametrize("player", [None, 0, 1])
def test_edge_02_all_packets_of_the_last_500_ms_lost_once_give_equal_exports(player: int | None) -> None:
    end = clean_end()
    match = Play(faults={"partitions": [Partition(end - 0.5, 0.5, player)]})()
    assert_played(match, frames=180, complete=1)


def test_edge_02_who_is_done_first_goes_on_sending_what_the_other_lacks() -> None:
    # Player 0's inputs of the last 100 ms are lost, and what it sends until it is done: nothing else is due from it.
    end = clean_end()
    match = Play(faults={"partitions": [Partition(end - 0.1, 0.15, 0)], "time_limit": 30.0})()
    assert_played(match, frames=180, complete=1)
    ended = [match.export(player).own.ended_at for player in (0, 1)]
    assert ended[0] + 0.05 < ended[1]


@pytest.mark.parametrize("blocked", [0.6, 2.0, 4.4])
def test_edge_02_last_inputs_blocked_for_less_than_the_time_out_lose_nothing(blocked: float) -> None:
    match = Play(faults={"partitions": [Partition(clean_end() - 0.3, blocked)]})()
    assert_played(match, frames=180, complete=1)
    assert match.result.seconds > clean_end() + blocked - 0.3


def test_edge_02_last_inputs_blocked_beyond_the_time_out_are_kept_apart_and_never_canonical() -> None:
    match = Play(faults={"partitions": [Partition(clean_end() - 0.3, 100.0)]})()
    assert_played(match, frames=140)
    assert match.statuses() == [["partner_silent"]] * 2
    for player in (0, 1):
        export, ended = match.export(player), match.ended(player)
        frames = export.header.frames
        assert frames == match.heard(player) + 1 < 180
        tail = export.own.tail
        assert tail is not None
        assert tail.start == frames
        assert ended.unconfirmed == len(tail.inputs) == len(tail.real) == len(tail.rewards) > 0
        assert (ended.status, ended.frames) == ("partner_silent", frames)
        truth = [acted.action for acted in match.policies[player].of(export.header.seed)]
        for row, (joint, real) in enumerate(zip(tail.inputs, tail.real, strict=True)):
            assert real == (player == 0, player == 1), "our own inputs are facts, the partner's are guesses"
            assert joint[player][0] == truth[tail.start + row - 2]
    shorter = min(match.export(player).header.frames for player in (0, 1))
    assert canonical_prefix(match.export(0), shorter) == canonical_prefix(match.export(1), shorter)


def test_edge_02_inputs_that_reach_only_one_side_are_canonical_there_and_a_tail_at_the_other() -> None:
    match = Play(faults={"partitions": [Partition(1.5, 100.0, 1)]})()
    assert_played(match, frames=60)
    frames = [match.export(player).header.frames for player in (0, 1)]
    assert frames[0] < frames[1]
    assert match.export(0).header.status == "partner_silent"
    assert match.export(1).header.status in ("partner_left", "partner_silent")
    assert frames == [match.heard(player) + 1 for player in (0, 1)]
    assert canonical_prefix(match.export(0), frames[0]) == canonical_prefix(match.export(1), frames[0])


# -- agreeing on it --------------------------------------------------------------------------------------------------


class Drop:
    """A tap that loses the first ``count`` packets of a kind from each player."""

    def __init__(self, kind: type, count: int) -> None:
        self.kind = kind
        self.left = {0: count, 1: count}
        self.dropped = 0

    def __call__(self, sent: Sent) -> Sequence[float]:
        if isinstance(sent.packet, self.kind) and self.left[sent.source]:
            self.left[sent.source] -= 1
            self.dropped += 1
            return ()
        return (sent.at,)


@pytest.mark.parametrize("kind", [End, EndAck])
@pytest.mark.parametrize("count", [1, 7])
def test_bound_01_lost_packets_of_the_end_are_sent_again(kind: type, count: int) -> None:
    tap = Drop(kind, count)
    match = Play(episodes=2, frames=60, tap=tap)()
    assert_played(match, frames=60, complete=2)
    assert tap.dropped == 2 * count


def test_bound_01_late_end_packets_of_an_old_episode_do_not_touch_the_next() -> None:
    late = []

    def tap(sent: Sent) -> Sequence[float]:
        if isinstance(sent.packet, End | EndAck) and sent.packet.episode == 0:
            late.append(sent)
            return (sent.at, sent.at + 0.5, sent.at + 1.9)
        return (sent.at,)

    match = Play(episodes=3, frames=61, tap=tap, policy=lambda player: Holder(player, 3))()
    assert_played(match, frames=61, complete=3)
    began = min(match.episodes[player][1].began for player in (0, 1))
    ended = max(export.own.ended_at for player in (0, 1) for export in match.exports(player)) - 1_700_000_000.0
    arrived = [s for s in match.received if isinstance(s.packet, End | EndAck) and s.packet.episode == 0]
    assert sum(1 for s in arrived if began + 0.3 < s.now < ended) >= 4, "they came in the midst of later episodes"
    assert not any(player.desyncs for player in match.result.players)


def test_bound_01_inputs_held_over_the_boundary_and_delayed_past_it_do_not_leak() -> None:
    match = Play(
        episodes=3, frames=50, tap=delay_inputs_into_the_next_episode, policy=lambda player: Holder(player, 40)
    )()
    assert_played(match, frames=50, complete=3, rollbacks=3)
    stale = 0
    for sent in match.received:
        if isinstance(sent.packet, Input) and sent.packet.inputs:
            episodes = match.episodes[sent.destination]
            stale += any(e.number > sent.packet.episode and e.began < sent.now for e in episodes)
    assert stale > 20, "packets of the last episode came into the next one"
    for player in (0, 1):
        for export in match.exports(player):
            for owner in (0, 1):
                # An episode begins with `delay` frames of the default, whatever was held when the last one ended.
                assert actions(export, owner)[:2] == [b"\0", b"\0"]
                first = match.policies[owner].of(export.header.seed)[0].action
                assert actions(export, owner)[2] == bytes([first])


def delay_inputs_into_the_next_episode(sent: Sent) -> Sequence[float]:
    # Also by about the length of an episode, so that they come when their frames are due again.
    if isinstance(sent.packet, Input):
        later = random.Random(repr(sent)).uniform(0.6, 1.5)
        return (sent.at, sent.at + later)
    return (sent.at,)


def test_bound_01_the_next_episode_begins_though_every_last_acknowledgement_is_lost() -> None:
    # Player 1's acks never arrive: its packets of the next episode say as much.
    def tap(sent: Sent) -> Sequence[float]:
        return () if isinstance(sent.packet, EndAck) and sent.source == 1 and sent.packet.episode < 2 else (sent.at,)

    match = Play(episodes=3, frames=50, tap=tap)()
    assert_played(match, frames=50, complete=3)


def test_bound_01_the_match_ends_though_goodbyes_are_lost() -> None:
    match = Play(frames=60, tap=lambda sent: () if isinstance(sent.packet, Bye) else (sent.at,))()
    assert_played(match, frames=60)
    assert match.statuses() == [["complete"]] * 2


# -- stopping --------------------------------------------------------------------------------------------------------


def stop_when(condition: Callable[[TappedSimulator], bool]) -> Callable[[TappedSimulator], None]:
    """Stops player 0's peer at the first event after which ``condition`` holds."""
    done: list[bool] = []

    def watch(simulator: TappedSimulator) -> None:
        peer = simulator.peers[0]
        if not done and peer is not None and condition(simulator):
            done.append(True)
            peer.stop(simulator.now)

    return watch


def test_edge_02_a_stopped_peer_exports_every_frame_whose_inputs_it_had() -> None:
    # Stopped between the arrival of the partner's inputs and its own next tick.
    seen: list[int] = []

    def condition(simulator: TappedSimulator) -> bool:
        episode = simulator.peers[0].episode if simulator.peers[0] is not None else None
        if episode is None or simulator.now < 1.0 or episode.session.rollback_pending is None:
            return False
        seen.append(min(episode.session.confirmed, episode.session.current - 1) + 1)
        return True

    match = Play(watch=stop_when(condition))()
    assert seen, "stopped with a rollback pending"
    assert_played(match, frames=50)
    assert match.export(0).header.status == "aborted"
    assert match.export(0).header.frames == seen[0]
    assert match.export(1).header.status == "partner_left"


def test_rec_06_a_peer_stopped_while_the_end_is_agreed_on_keeps_nothing() -> None:
    match = Play(
        frames=60, watch=stop_when(lambda s: s.peers[0] is not None and s.peers[0].phase is PeerPhase.ENDING)
    )()
    assert match.statuses()[0] == ["complete"]
    assert_sound(match, 0, match.export(0))
    assert_empty(match)


# -- afterwards ------------------------------------------------------------------------------------------------------


def assert_empty(match: Match) -> None:
    """No recorder of any episode holds a row."""
    for player in (0, 1):
        assert match.episodes[player]
        for episode in match.episodes[player]:
            recorder = episode.recorder
            assert recorder.canonical.frames == 0
            assert recorder.speculative.rows() == ()
            assert not recorder.history
            assert not recorder.rollbacks


@pytest.mark.parametrize("plan", [Play(episodes=3, frames=50), Play(faults={"partitions": [Partition(1.2, 100.0)]})])
def test_rec_06_both_buffers_are_empty_after_each_export(plan: Play) -> None:
    match = plan()
    assert_played(match, frames=50)  # the exports themselves are whole
    assert_empty(match)


# -- desync ----------------------------------------------------------------------------------------------------------


def skewed(frame: int) -> Callable[[GameLog, int], Probe]:
    """Player 1's game goes wrong at a frame."""
    return lambda log, player: Probe(log=log, skew=frame if player == 1 else 1 << 30)


@pytest.mark.parametrize("every", [1, 4])
def test_a_desync_stops_the_match_at_its_frame_and_both_exports_are_kept(every: int) -> None:
    match = Play(game=skewed(60), save_every=every, checksum_interval=12)()
    assert_played(match, frames=73)
    assert match.statuses() == [["desync"]] * 2
    found = [event for player in match.result.players for event in player.desyncs]
    # Each peer reports it at most once, at the first compared state after the fault.
    assert {event.frame for event in found} == {72}
    assert 1 <= len(found) <= 2
    both = [canonical_prefix(match.export(player), 60) for player in (0, 1)]
    assert both[0] == both[1]
    assert canonical_prefix(match.export(0), 61) != canonical_prefix(match.export(1), 61)


@pytest.mark.parametrize("every", [1, 4])
def test_a_desync_that_is_to_be_continued_is_reported_once_per_peer_and_both_play_on(every: int) -> None:
    match = Play(game=skewed(60), save_every=every, on_desync="continue")()
    assert_played(match, frames=180)
    assert match.statuses() == [["complete"]] * 2
    for result in match.result.players:
        assert [event.frame for event in result.desyncs][:1] == [72]
        assert sum(1 for event in result.desyncs if event.frame < 180) == 1
    assert match.export(0).digest != match.export(1).digest


def test_a_desync_after_the_last_compared_state_is_found_at_the_end() -> None:
    match = Play(game=skewed(174), frames=178, checksum_interval=30)()
    assert_played(match, frames=178)
    assert all(result.desyncs for result in match.result.players)
    assert match.export(0).digest != match.export(1).digest


@pytest.mark.parametrize("every", [1, 4])
def test_no_desync_is_reported_where_there_is_none(every: int) -> None:
    match = Play(network="terrible", save_every=every, checksum_interval=4, episodes=2)()
    assert_played(match, frames=180, complete=2)
    for player, result in enumerate(match.result.players):
        assert result.desyncs == []
        stats = match.export(player).own.stats
        assert stats["checksums_compared"] == stats["checksums_matched"] > 10
