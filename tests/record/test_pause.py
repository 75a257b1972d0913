"""Peers that are not scheduled for a while (focus lost, SIGSTOP, a long collection) and catch up in a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.record.buffers import CanonicalBuffer, SpeculativeBuffer
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.simulator.scenario import Pause
from rollgym.protocol.packets import Input, inputs_that_fit
from tests.record.match import LATENCY, Match, Play, Sent, actions, assert_played, own
from tests.record.probe import Holder, Probe, Restless

SLOW = Link.both(NetworkConditions(latency=0.3, jitter=0.02))
"""300 ms one way."""


def paused(plan: Play, *pauses: Pause) -> Match:
    """The plan with pauses, played to its end by both, with proof that nobody played in a pause."""
    plan.timeout = 30.0
    plan.faults["pauses"] = pauses
    match = plan()
    for pause in pauses:
        steps = [step.time for step in match.games[pause.player].steps]
        assert not any(pause.at < time < pause.at + pause.duration for time in steps)
        assert any(time >= pause.at + pause.duration for time in steps), "it played on afterwards"
    return match


def fast_forwarded(match: Match, player: int) -> int:
    """The most frames that a player's peer simulated for the first time at one moment."""
    first: dict[tuple[int, int], float] = {}
    for step in match.games[player].steps:
        first.setdefault((step.seed, step.frame), step.time)
    return max(Counter(first.values()).values())


@pytest.mark.parametrize("seconds", [1.0, 5.0, 6.0, 20.0])
@pytest.mark.parametrize("network", [LATENCY, SLOW], ids=["70ms", "300ms"])
@pytest.mark.parametrize("player", [0, 1])
def test_edge_01_one_peer_pauses_and_its_partner_waits(seconds: float, network: Link, player: int) -> None:
    match = paused(Play(network=network), Pause(player, 1.23, seconds))
    assert_played(match, frames=180, complete=1)
    assert fast_forwarded(match, player) > 1
    assert match.export(1 - player).own.stats["stalls"] > 0.8 * seconds * 60, "the partner waited at its window"


@pytest.mark.parametrize("seconds", [1.0, 5.0, 6.0, 20.0])
def test_edge_01_both_peers_pause(seconds: float) -> None:
    match = paused(Play(), Pause(0, 1.23, seconds), Pause(1, 1.31, seconds))
    assert_played(match, frames=180, complete=1)


def test_edge_01_both_peers_pause_for_longer_than_the_time_out_at_once() -> None:
    # The machine was asleep: neither was silent while the other listened.
    match = Play(timeout=5.0, faults={"pauses": [Pause(0, 1.23, 6.0), Pause(1, 1.23, 6.0)]})()
    assert_played(match, frames=180, complete=1)
    assert match.result.seconds > 9.0


@pytest.mark.parametrize("seconds", [1.0, 6.0])
@pytest.mark.parametrize("window", [8, 400])
def test_edge_01_a_pause_across_the_episode_boundary_stops_at_it(seconds: float, window: int) -> None:
    match = paused(Play(episodes=3, window=window), Pause(0, 2.7, seconds))
    assert_played(match, frames=180, complete=3)
    for player in (0, 1):
        assert max(step.frame for step in match.games[player].steps) == 179
    if window == 400:
        # The partner had reached the end; the frames up to it were made up for, and none beyond.
        assert fast_forwarded(match, 0) > 8


def test_edge_01_two_pauses_in_one_episode() -> None:
    match = paused(Play(), Pause(0, 0.9, 2.0), Pause(0, 4.0, 2.0))
    assert_played(match, frames=180, complete=1)
    match = paused(Play(), Pause(0, 0.9, 2.0), Pause(1, 3.7, 2.0))
    assert_played(match, frames=180, complete=1)


@pytest.mark.parametrize("hold", [1, 7])
def test_edge_01_a_pause_with_mispredictions_outstanding(hold: int) -> None:
    match = paused(Play(network=SLOW, window=30, policy=lambda player: Holder(player, hold)), Pause(0, 1.51, 3.0))
    assert_played(match, frames=180, complete=1, rollbacks=10)
    # When the pause began, guesses were wrong that were corrected only after it.
    export = match.export(0)
    facts = list(zip(actions(export, 0), actions(export, 1), strict=True))
    shown = {step.frame: step.inputs for step in match.games[0].steps if step.time < 1.51}
    wrong = [frame for frame, inputs in shown.items() if inputs != facts[frame]]
    assert wrong
    load = next(load for load in match.games[0].loads if load.time >= 1.51)
    assert 4.51 <= load.time < 4.55
    assert load.frame == min(wrong)


@pytest.mark.parametrize(("seconds", "network"), [(5.0, LATENCY), (6.0, SLOW), (20.0, LATENCY)])
def test_edge_01_a_rollback_of_150_frames_and_more(seconds: float, network: Link) -> None:
    match = paused(Play(network=network, window=1500, frames=int(240 + 60 * seconds)), Pause(1, 2.0, seconds))
    assert_played(match, frames=300, complete=1)
    deepest = max(event.depth for event in match.export(0).own.rollbacks)
    assert deepest >= max(150, 0.8 * seconds * 60)
    assert fast_forwarded(match, 1) > 8


def test_edge_01_600_missed_frames_do_not_fit_into_a_packet_and_arrive_all_the_same() -> None:
    width = 48
    assert inputs_that_fit(2, width) < 30
    plan = Play(
        frames=900,
        window=900,
        game=lambda log, player: Probe(width=width, log=log),
        policy=lambda player: Restless(player, width),
    )
    match = paused(plan, Pause(1, 1.0, 11.0))
    assert_played(match, frames=900, complete=1)
    assert max(event.depth for event in match.export(0).own.rollbacks) > 600
    assert max(len(sent.packet.inputs) for sent in match.received if isinstance(sent.packet, Input)) < 30


@pytest.mark.parametrize("withheld", [70, 200])
def test_the_confirmed_frame_follows_though_inputs_are_withheld_for_many_frames(withheld: int) -> None:
    seconds = withheld / 60

    def tap(sent: Sent) -> Sequence[float]:
        blocked = sent.source == 1 and isinstance(sent.packet, Input) and 1.0 <= sent.now < 1.0 + seconds
        return () if blocked else (sent.at,)

    match = Play(frames=420, window=300, tap=tap)()
    assert_played(match, frames=420, complete=1)
    assert max(event.depth for event in match.export(0).own.rollbacks) >= withheld


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls through which frames are recorded."""
    calls: Counter[str] = Counter()
    for owner, name in (
        (EpisodeRecorder, "simulated"),
        (EpisodeRecorder, "promoted"),
        (SpeculativeBuffer, "add"),
        (SpeculativeBuffer, "drop_lowest"),
        (CanonicalBuffer, "append"),
    ):
        original = getattr(owner, name)

        def count(*args: object, _name: str = f"{owner.__name__}.{name}", _original: object = original) -> object:
            calls[_name] += 1
            return _original(*args)  # type: ignore[operator]

        monkeypatch.setattr(owner, name, count)
    return calls


def test_edge_01_fast_forward_records_through_the_same_gate_as_play(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    match = paused(Play(window=400, frames=420), Pause(0, 1.0, 5.0))
    assert_played(match, frames=420, complete=1)
    assert fast_forwarded(match, 0) > 8
    steps = sum(len(log.steps) for log in match.games)
    assert calls == {
        "EpisodeRecorder.simulated": steps,
        "SpeculativeBuffer.add": steps,
        "EpisodeRecorder.promoted": 2 * 420,
        "SpeculativeBuffer.drop_lowest": 2 * 420,
        "CanonicalBuffer.append": 2 * 420,
    }


# -- playing on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1.0, 5.0, 6.0, 20.0])
@pytest.mark.parametrize("network", [LATENCY, SLOW], ids=["70ms", "300ms"])
def test_edge_01_the_partner_plays_on_and_missed_frames_are_idle_for_both(seconds: float, network: Link) -> None:
    # `assert_played` has it that an input is marked idle, and is the default, exactly where the policy was not asked.
    match = paused(Play(network=network, away="play_on", frames=int(200 + 60 * seconds)), Pause(0, 1.23, seconds))
    assert_played(match, frames=200, complete=1)
    sources = match.export(1).canonical.columns["input_source"].array()
    idle = int(sources[:, 0].sum())
    assert idle > (30 if network is LATENCY else 10) * seconds
    assert idle < 60 * seconds + 60
    assert sources[:, 1].sum() == 0, "who was there is never idle"
    assert max(event.depth for event in match.export(1).own.rollbacks) >= min(150, 0.5 * seconds * 60)


def test_edge_01_playing_on_across_the_boundary_and_twice() -> None:
    match = paused(Play(away="play_on", episodes=3), Pause(0, 2.6, 2.0), Pause(0, 6.5, 1.0))
    assert_played(match, frames=180, complete=3)
    idle = [int(export.canonical.columns["input_source"].array()[:, 0].sum()) for export in match.exports(1)]
    assert sum(idle) > 30
    assert sum(own(match.export(1), "was_speculative")) > 0


def test_edge_01_playing_on_ends_after_its_limit() -> None:
    match = Play(away="play_on", away_limit=2.0, frames=600, timeout=1.0, faults={"pauses": [Pause(0, 1.23, 8.0)]})()
    assert_played(match, frames=60)
    assert match.export(1).header.status == "partner_silent"
    tail = match.export(1).own.tail
    assert tail is not None
    assert len(tail.inputs) > 60
