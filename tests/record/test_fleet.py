"""Random matches: any network, settings, pauses, cuts and deaths; what each peer exports is true and agrees."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rollgym.client_sim.network_model import CONDITIONS, Link
from rollgym.client_sim.simulator.scenario import Kill, Partition, Pause
from tests.record.match import LATENCY, Match, Play, assert_equal, assert_sound, canonical_prefix
from tests.record.probe import Holder, Loose, Probe, Restless

MATCHES = 240


def random_plan(seed: int) -> Play:
    draw = random.Random(seed)
    faults: dict[str, Any] = {"time_limit": 200.0}
    if draw.random() < 0.4:
        faults["pauses"] = [
            Pause(draw.randrange(2), draw.uniform(0, 4), draw.choice([0.2, 0.5, 1, 3, 6])) for _ in range(2)
        ]
    if draw.random() < 0.3:
        faults["partitions"] = [
            Partition(draw.uniform(0.3, 4), draw.choice([0.1, 0.5, 1, 3, 20]), draw.choice([None, 0, 1]))
        ]
    if draw.random() < 0.2:
        faults["kills"] = [Kill(draw.randrange(2), draw.uniform(0.05, 4))]
    if draw.random() < 0.5:
        faults["notify_after"] = draw.choice([0.0, 0.1, 1.0])
    if draw.random() < 0.3:
        faults["starts"] = [0.0, draw.uniform(0, 2)]
    hold, dull, robot = draw.choice([0, 0, 2, 5]), draw.random() < 0.3, draw.random() < 0.3
    # Only who never repeats an action cannot end an episode by chance, and then a frame limit is all there is.
    repeats = 1 << 30 if hold or dull else draw.choice([1 << 30, 3, 4, 6])
    names: list[Link | str] = [*CONDITIONS, *[LATENCY] * 5]
    save_every = draw.choice([1, 1, 2, 5, 9])
    return Play(
        frames=draw.choice([1, 2, 7, 60, 120]),
        episodes=draw.choice([1, 2, 4]),
        seed=seed,
        network=draw.choice(names),
        delay=draw.choice([0, 1, 2, 5, 12]),
        window=draw.choice([0, 1, 4, 8, 8, 30, 300]),
        save_every=save_every,
        checksum_interval=save_every * draw.choice([1, 3, 10]),
        timeout=draw.choice([0.6, 1.0, 5.0, 9.0]),
        away=draw.choice(["stall", "stall", "play_on"]),
        away_limit=draw.choice([0.5, 2.0, 10.0]),
        game=lambda log, player: Probe(log=log, repeats=repeats, dull=dull, robot=robot),
        policy=(lambda player: Holder(player, hold)) if hold else (Loose if dull else Restless),
        faults=faults,
    )


def assert_true_and_agreed(match: Match) -> None:
    for player, result in enumerate(match.result.players):
        assert result.desyncs == []
        for export in match.exports(player):
            assert_sound(match, player, export)
    for first, second in zip(match.exports(0), match.exports(1), strict=False):
        frames = [first.header.frames, second.header.frames]
        assert canonical_prefix(first, min(frames)) == canonical_prefix(second, min(frames))
        complete = [export.header.status == "complete" for export in (first, second)]
        if all(complete):
            assert_equal(first, second)
        elif any(complete):
            assert frames[complete.index(True)] >= frames[complete.index(False)]


@pytest.mark.parametrize("block", range(4))
def test_random_matches_are_recorded_truly_and_alike(block: int) -> None:
    frames = rollbacks = 0
    statuses = set()
    for seed in range(block * MATCHES // 4, (block + 1) * MATCHES // 4):
        match = random_plan(seed)()
        try:
            assert_true_and_agreed(match)
        except AssertionError as error:
            raise AssertionError(f"random_plan({seed}): {error}") from error
        frames += sum(export.header.frames for player in (0, 1) for export in match.exports(player))
        rollbacks += match.rollbacks(0) + match.rollbacks(1)
        statuses |= {status for of_player in match.statuses() for status in of_player}
    assert frames > 1000
    assert rollbacks > 200
    assert len(statuses) >= 2
