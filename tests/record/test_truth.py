"""What an episode's export says is what happened: facts against the senders' logs, own part against the game's log."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rollgym.client_sim.network_model import CONDITIONS, Link, NetworkConditions
from rollgym.client_sim.record import recorder
from rollgym.games.record.replay import replay
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.seeds import episode_seed
from tests.record.match import (
    Play,
    actions,
    assert_equal,
    assert_played,
    inputs_in_time,
    one_way,
    own,
)
from tests.record.probe import SPARK_EVERY, Holder, Loose, Probe


@pytest.mark.parametrize("network", [name for name in CONDITIONS if name not in ("local", "lan", "wifi_good")])
def test_bound_01_rec_02_equal_and_true_under_every_network(network: str) -> None:
    match = Play(network=network, frames=150, episodes=2, seed=7)()
    assert_played(match, frames=150, complete=2)


@pytest.mark.parametrize("network", ["local", "lan", "wifi_good"])
def test_bound_01_rec_02_equal_and_true_without_input_delay_on_a_fast_network(network: str) -> None:
    # With two frames of delay these networks need no rollback; without it they do, except on none at all.
    match = Play(network=network, frames=150, delay=0)()
    assert_played(match, frames=150, complete=1, rollbacks=0 if network == "local" else 1)


def test_rec_02_actions_are_the_senders_own_when_they_change_every_frame_under_delay() -> None:
    match = Play(network=one_way(latency=0.12), delay=1)()
    assert_played(match, frames=180, complete=1, rollbacks=100)
    for player in (0, 1):
        recorded = actions(match.export(1 - player), player)
        assert all(a != b for a, b in pairwise(recorded[1:])), "every frame another action"
        assert recorded[:1] == [b"\0"]
        assert b"\0" not in recorded[1:]


def test_rec_04_was_speculative_is_exactly_the_frames_whose_inputs_came_late() -> None:
    match = Play(network=one_way(latency=0.045, jitter=0.03))()
    assert_played(match, frames=180, complete=1, rollbacks=10)
    for player in (0, 1):
        export = match.export(player)
        in_time = inputs_in_time(match, player, export)
        assert own(export, "was_speculative") == [not early for early in in_time]
        assert 20 < sum(in_time) < 160, "a schedule with both kinds"


def test_rec_04_was_speculative_differs_between_peers_where_their_schedules_do() -> None:
    # A third of player 1's packets is lost, none of player 0's: player 0 has to guess more often.
    lossy = Link(
        NetworkConditions(latency=0.03, jitter=0.005), NetworkConditions(loss=0.35, latency=0.03, jitter=0.005)
    )
    match = Play(network=lossy)()
    assert_played(match, frames=180, complete=1, rollbacks=0)
    assert match.rollbacks(0) > 20
    guessed = [sum(own(match.export(player), "was_speculative")) for player in (0, 1)]
    assert guessed[0] > guessed[1] + 20
    for player in (0, 1):
        export = match.export(player)
        assert own(export, "was_speculative") == [not early for early in inputs_in_time(match, player, export)]


def test_rec_04_no_frame_was_speculative_in_lockstep() -> None:
    match = Play(window=0, frames=60)()
    assert_played(match, frames=60, complete=1, rollbacks=0)
    for player in (0, 1):
        export = match.export(player)
        assert not any(own(export, "was_speculative"))
        assert own(export, "times_simulated") == [1] * 60
        assert export.own.rollbacks == []
        assert export.own.columns["seen_frame"].shape == (0,)


def test_mispredicted_counts_a_prediction_that_was_made_anew_before_its_input_arrived() -> None:
    # Inputs are held for five frames: a rollback to the first of them predicts the rest rightly, but they had been
    # simulated, and shown, with a wrong one.
    match = Play(policy=lambda player: Holder(player, 5))()
    assert_played(match, frames=180, complete=1, rollbacks=30)
    for player in (0, 1):
        export = match.export(player)
        wrong = own(export, "mispredicted")
        assert sum(wrong) > 2 * len(export.own.rollbacks)
        assert any(s and not w for s, w in zip(own(export, "was_speculative"), wrong, strict=True))


def test_seen_is_what_the_policy_was_given_exactly_where_it_was_wrong() -> None:
    # `assert_played` compares every decision's observation with the record; here: that both kinds occur.
    match = Play(policy=lambda player: Holder(player, 9))()
    assert_played(match, frames=180, complete=1, rollbacks=15)
    for player in (0, 1):
        wrong = match.export(player).own.columns["seen_frame"].shape[0]
        assert 10 < wrong < 170


def test_seen_leaves_out_frames_whose_wrong_guess_made_no_difference() -> None:
    match = Play(policy=Loose, game=lambda log, player: Probe(log=log, dull=True))()
    assert_played(match, frames=180, complete=1, rollbacks=50)
    for player in (0, 1):
        export = match.export(player)
        assert export.own.columns["seen_frame"].shape[0] < sum(own(export, "mispredicted")) - 20


def test_edge_03_rollback_events_agree_with_the_frames_they_simulated_again() -> None:
    match = Play(network="wifi_congested", frames=240)()
    assert_played(match, frames=240, complete=1, rollbacks=30)
    for player in (0, 1):
        export = match.export(player)
        events = export.own.rollbacks
        assert {event.player for event in events} == {1 - player}
        assert max(event.depth for event in events) > 3
        assert [event.at_frame for event in events] == sorted(event.at_frame for event in events)
        assert sum(event.depth for event in events) >= sum(own(export, "rollbacks"))
        assert export.own.stats["rollbacks"] == len(events)
        for event in events:
            # A rollback comes after the newest frame it takes back was simulated, and when its input was there.
            newest = own(export, "time")[min(event.at_frame, 240) - 1]
            assert event.time >= newest


def test_edge_03_events_of_one_episode_are_not_repeated_in_the_next_of_twenty() -> None:
    match = Play(network=one_way(latency=0.09), episodes=20, frames=40)()
    assert_played(match, frames=40, complete=20, rollbacks=20 * 20)
    for player in (0, 1):
        for export in match.exports(player):
            assert export.own.rollbacks
            # Compared with the game's own log episode by episode in `assert_played`; no event is older than its
            # episode, and none is of a frame that the episode cannot have had.
            assert all(0 < event.time < 5 and event.to_frame < 40 for event in export.own.rollbacks)
            assert len(own(export, "time")) == 40
            assert own(export, "time")[0] < 0.5
        marks = [
            (export.header.episode, e.at_frame, e.time)
            for export in match.exports(player)
            for e in export.own.rollbacks
        ]
        assert len({(at, time) for _, at, time in marks}) > 100, "events of different episodes differ"


def test_resimulating_the_recorded_actions_gives_the_recorded_rewards_infos_and_observations() -> None:
    match = Play(network="bursty", frames=150)()
    assert_played(match, frames=150, complete=1)  # a fresh game stepped by hand agrees
    for player in (0, 1):
        export = match.export(player)
        again = replay(export.header, export.canonical, match.fresh_game(player))  # and so does the audit's
        assert compare_episodes((export.header, export.canonical), (export.header, again)) is None


@pytest.mark.parametrize("every", [2, 3, 5, 16])
def test_sparse_snapshots_record_and_replay_the_same_episode(every: int) -> None:
    match = Play(save_every=every, checksum_interval=every, frames=150)()
    assert_played(match, frames=150, complete=1, rollbacks=50)
    export = match.export(0)
    again = replay(export.header, export.canonical, match.fresh_game(0))
    assert compare_episodes((export.header, export.canonical), (export.header, again)) is None


def test_times_simulated_counts_every_step_of_a_frame_with_sparse_snapshots_too() -> None:
    # `assert_played` compares it with the game's own log of steps.
    # An input that is held is guessed right for a while, so that no snapshot lies where the next rollback goes to.
    match = Play(save_every=5, checksum_interval=10, policy=lambda player: Holder(player, 3))()
    assert_played(match, frames=180, complete=1)
    export = match.export(0)
    more = sum(own(export, "times_simulated")) - export.header.frames - sum(own(export, "rollbacks"))
    assert more > 50, "steps on the way to a rollback's first frame"


def test_a_peers_own_columns_are_the_same_when_they_are_made_while_it_plays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FOLD", 16)
    monkeypatch.setattr(recorder, "STEPPED_AGAIN", 20)
    match = Play(save_every=5, checksum_interval=10, episodes=2)()
    # `assert_played` compares them with the logs of game and policy.
    assert_played(match, frames=180, complete=2)


def test_sparse_info_keys_stay_at_their_frame_and_keep_their_types() -> None:
    match = Play(frames=SPARK_EVERY * 12)()
    assert_played(match, frames=SPARK_EVERY * 12, complete=1)  # compares every info with its types
    rows = sorted({info.row for info in match.export(0).canonical.infos if info.key == "spark"})
    assert 3 <= len(rows) <= 30
    assert 0 not in rows, "nothing was moved to the row of reset"
    agents = {info.agent for info in match.export(0).canonical.infos if info.key == "spark"}
    assert agents == {0, 1}


def test_episodes_of_a_match_differ_and_reproduce_from_the_match_seed() -> None:
    plan = Play(episodes=4, frames=60)
    match, again, other = plan(), plan(), plan(seed=2)
    assert_played(match, frames=60, complete=4)
    seeds = [export.header.seed for export in match.exports(0)]
    assert len(set(seeds)) == 4
    assert seeds == [episode_seed(1, number) for number in range(4)]
    assert len({export.canonical.columns["actions/0"].data for export in match.exports(0)}) == 4
    assert len({export.canonical.columns["observations/0/mix"].data for export in match.exports(0)}) == 4
    for first, second in zip(match.exports(0), again.exports(0), strict=True):
        assert_equal(first, second)
    assert match.result.trace == again.result.trace
    assert not {export.header.seed for export in other.exports(0)} & set(seeds)


def test_peers_that_confirm_a_frame_at_different_times_record_the_same_digest_of_it() -> None:
    match = Play(network="asymmetric_100_500", frames=90, timeout=10)()
    assert_played(match, frames=90, complete=1)
    digests = [match.export(player).canonical.columns["state_digest"].array() for player in (0, 1)]
    assert len(set(digests[0].tolist())) == 91
    assert (digests[0] == digests[1]).all()


@pytest.mark.parametrize("network", ["constant_100", "mobile_3g", "terrible", "tcp_5"])
@pytest.mark.parametrize("every", [1, 4])
def test_npc_01_a_robot_with_chance_and_memory_does_the_same_after_any_rollback(network: str, every: int) -> None:
    # Its actions are part of the record, and a fresh game that never guessed does them again: see `assert_played`.
    robot = Play(network=network, save_every=every, game=lambda log, player: Probe(robot=True, log=log), frames=120)
    match = robot(episodes=2)
    assert_played(match, frames=120, complete=2, rollbacks=20)
    export = match.export(0)
    assert export.header.game.npcs == ("robot",)
    assert len(set(export.canonical.columns["actions/robot"].data)) > 8
    again = replay(export.header, export.canonical, match.fresh_game(0))
    assert compare_episodes((export.header, export.canonical), (export.header, again)) is None


def test_player_0_is_a_player_and_ids_may_be_any_strings() -> None:
    for names in (("0", "1"), ("none", "player 0")):
        match = Play(frames=60, game=lambda log, player, names=names: Probe(log=log, agents=names))()  # type: ignore[misc]
        assert_played(match, frames=60, complete=1)
        export = match.export(1)
        assert {event.player for event in export.own.rollbacks} == {0}
        assert [f"actions/{name}" in export.canonical.columns for name in names] == [True, True]
