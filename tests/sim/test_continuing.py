"""``on_disconnect: continue``: whatever is cut, for however long, there is one record, and it says who was there."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.simulator.result import PlayerResult
from rollgym.client_sim.simulator.scenario import Kill, Partition, Pause, Scenario
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.games.contract import Game
from rollgym.protocol.episode.export import INPUT_GONE, INPUT_REAL, Export
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.finding import Finding, find
from tests.rollback.toy import Toy, ToyPolicy

TIMEOUT = 5.0
FRAMES = 900
"""15 seconds."""


class Stopping(Simulator):
    """Peers that are told to stop, at a time."""

    def __init__(self, scenario: Scenario, stops: Sequence[tuple[int, float]]) -> None:
        super().__init__(scenario)
        self._stops = list(stops)

    def _handle(self, now: float, kind: int, player: int, data: bytes) -> None:
        for stop in [stop for stop in self._stops if stop[1] <= now]:
            self._stops.remove(stop)
            peer = self.peers[stop[0]]
            if peer is not None:
                peer.stop(now)
        super()._handle(now, kind, player, data)


def match(
    seed: int = 0,
    *,
    players: int = 2,
    frames: int = FRAMES,
    episodes: int = 1,
    network: str = "lan",
    pauses: Sequence[Pause] = (),
    partitions: Sequence[Partition] = (),
    kills: Sequence[Kill] = (),
    stops: Sequence[tuple[int, float]] = (),
) -> list[PlayerResult]:
    """Play it to its end at every peer that lives."""

    def policy(player: int) -> Callable[[Game, int], ToyPolicy]:
        return lambda _game, _player: ToyPolicy(player, seed, hold=3)

    scenario = Scenario(
        PlaySettings(
            frame_limit=frames,
            episodes=episodes,
            on_disconnect="continue",
            disconnect_timeout=TIMEOUT,
            start_timeout=8.0,
        ),
        lambda: Toy(players),
        [policy(player) for player in range(players)],
        link=CONDITIONS[network],
        seed=seed,
        pauses=pauses,
        partitions=partitions,
        kills=kills,
    )
    simulator = Stopping(scenario, stops)
    simulator.run()
    assert not any(result.refused for result in simulator.results), [result.refusals for result in simulator.results]
    return simulator.results


def verdict(results: Sequence[PlayerResult], episode: int = 0) -> Finding:
    """The server's word on one episode of all exports there are."""
    exports = [export for result in results for export in result.exports if export.header.episode == episode]
    return find(exports, len(results), Toy(len(results)))


def assert_one_record(results: Sequence[PlayerResult]) -> list[str]:
    """Nobody's frames contradict anybody else's; the verdicts."""
    episodes = sorted({export.header.episode for result in results for export in result.exports})
    found = [verdict(results, episode) for episode in episodes]
    assert [finding.detail for finding in found if finding.verdict == "diverged"] == []
    return [finding.verdict for finding in found]


def sources(export: Export, player: int) -> list[int]:
    column: list[int] = export.canonical.columns["input_source"].array()[:, player].tolist()
    return column


@pytest.mark.parametrize("away", [0, 1])
@pytest.mark.parametrize("at", [1.0, 5.03])
def test_whoever_was_stopped_for_too_long_learns_that_it_was_dropped(away: int, at: float) -> None:
    results = match(pauses=[Pause(away, at, 6.0)])
    (stayed,), (stopped,) = results[1 - away].exports, results[away].exports
    assert (stayed.header.status, stayed.header.frames) == ("complete", FRAMES)
    assert stopped.header.status == "partner_silent"
    assert results[away].ended == "dropped"
    frames = stopped.header.frames
    assert 50 * at < frames < 65 * at + 10
    assert verdict(results).verdict == "partial"
    theirs = sources(stayed, away)
    assert theirs[:frames] == [INPUT_REAL] * frames
    gone = theirs.index(INPUT_GONE)
    assert frames <= gone < frames + 12
    assert theirs[gone:] == [INPUT_GONE] * (FRAMES - gone), "to the end"
    assert INPUT_GONE not in sources(stopped, 0) + sources(stopped, 1)
    assert set(sources(stayed, 1 - away)) == {INPUT_REAL}


def test_a_pause_within_the_time_out_costs_nothing() -> None:
    results = match(pauses=[Pause(0, 2.0, 4.5)])
    assert assert_one_record(results) == ["verified"]
    assert {export.header.frames for result in results for export in result.exports} == {FRAMES}


@pytest.mark.parametrize("player", [None, 0, 1])
@pytest.mark.parametrize("heals", [True, False])
def test_two_who_cannot_hear_each_other_do_not_both_go_on(player: int | None, heals: bool) -> None:
    results = match(partitions=[Partition(2.0, 7.0 if heals else 60.0, player)])
    assert assert_one_record(results) == ["partial"]
    statuses = [[export.header.status for export in result.exports] for result in results]
    assert sorted([status for each in statuses for status in each]) in (
        ["complete", "partner_silent"],
        ["partner_silent", "partner_silent"],
    )
    if player is None:
        assert statuses == [["complete"], ["partner_silent"]], "the side of the lowest player goes on"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([2, 2, 2, 3]), st.sampled_from(["lan", "wifi_average", "tcp_5"]))
def test_partitions_of_any_length_never_give_two_records(seed: int, players: int, network: str) -> None:
    draw = random.Random(seed)
    frames = draw.choice((240, 600, 900))
    partitions = [
        Partition(draw.uniform(0.5, 12.0), draw.choice((0.3, TIMEOUT)) + draw.uniform(-0.3, 1.5), draw.choice(whose))
        for whose in [(None, *range(players))] * draw.choice((1, 1, 2, 3))
    ]
    pauses = [
        Pause(draw.randrange(players), draw.uniform(0.5, 12.0), TIMEOUT + draw.uniform(-1.0, 2.0))
        for _ in range(draw.choice((0, 0, 1)))
    ]
    stops = [(draw.randrange(players), draw.uniform(1.0, 16.0)) for _ in range(draw.choice((0, 0, 0, 1)))]
    kills = [Kill(draw.randrange(players), draw.uniform(1.0, 16.0)) for _ in range(draw.choice((0, 0, 0, 1)))]
    results = match(
        seed,
        players=players,
        frames=frames,
        episodes=draw.choice((1, 2)),
        network=network,
        partitions=partitions,
        pauses=pauses,
        stops=stops,
        kills=kills,
    )
    assert_one_record(results)
    assert max([export.header.frames for result in results for export in result.exports], default=1) > 0


@pytest.mark.parametrize("stopped", [0, 1])
def test_whoever_is_stopped_has_no_frame_that_others_can_play_otherwise(stopped: int) -> None:
    """The last packets of whoever stops may not arrive; the other plays on without them."""
    for at in (2.0, 2.2, 2.4):
        results = match(stops=[(stopped, at)], partitions=[Partition(at - 0.2, 30.0, stopped)])
        assert_one_record(results)
        (mine,) = results[stopped].exports
        assert mine.header.status == "aborted"
        assert mine.header.frames > 80


def certain_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "certain", property(lambda self: True))


def everything_is_safe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "safe_frames", lambda self, session, over: session.canonical)


def nobody_is_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DisconnectAgreement, "drop", lambda self, link: None)
    patch.setattr(DisconnectAgreement, "certain", property(lambda self: True))


@pytest.mark.parametrize("mutation", [certain_always, everything_is_safe, nobody_is_told])
def test_a_mutation_is_noticed(mutation: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_it() -> None:
        for heals in (True, False):
            for player in (None, 0, 1):
                test_two_who_cannot_hear_each_other_do_not_both_go_on(player, heals)
        for stopped in (0, 1):
            test_whoever_is_stopped_has_no_frame_that_others_can_play_otherwise(stopped)

    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        all_of_it()
