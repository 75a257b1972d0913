"""Every named network condition and input delay: complete, equal, the recorded trace, and really played."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rollgym.client_sim.network_model import CONDITIONS
from rollgym.client_sim.simulator.result import SimulationResult
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.record.replay import replay
from rollgym.games.registry import make
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings

FRAMES = 300
SEED = 7
DELAYS = (0, 2)
TRACES = Path(__file__).with_name("traces.json")
"""Fingerprints of all conditions (``scripts/record_traces.py``)."""


def has_to_guess(name: str, delay: int) -> bool:
    """Whether packets of this condition can take longer than the input delay covers."""
    link = CONDITIONS[name]
    slowest = min(way.latency + way.jitter for way in (link.forward, link.backward))
    return slowest > delay / 60


def game() -> Game:
    return make("drift", {})


def policy(game: Game, player: int) -> Policy:
    return make_policy("random_hold", game.spec, player, SEED + player)


def play(name: str, delay: int) -> SimulationResult:
    settings = PlaySettings(episodes=2, fps=60, frame_limit=FRAMES, input_delay=delay, max_prediction=8)
    return simulate(Scenario(settings, game, (policy, policy), seed=SEED, link=CONDITIONS[name]))


def fingerprint(result: SimulationResult) -> list[str]:
    """A digest of every packet and event, and one of every byte of all exports."""
    exports = hashlib.sha256()
    for player in result.players:
        for export in player.exports:
            exports.update(encode_export(export))
    return [result.trace, exports.hexdigest()]


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("name", list(CONDITIONS))
def test_condition(name: str, delay: int) -> None:
    first, second = play(name, delay), play(name, delay)
    assert (first.trace, first.seconds, first.events) == (second.trace, second.seconds, second.events)
    assert fingerprint(first) == json.loads(TRACES.read_text(encoding="utf-8"))[f"{name}, input delay {delay}"]

    one, two = (player.exports for player in first.players)
    assert [export.header.status for export in one] == ["complete", "complete"]
    assert [player.ended for player in first.players] == ["finished", "finished"]
    assert [player.desyncs for player in first.players] == [[], []]
    assert [player.refused for player in first.players] == [0, 0]
    for mine, theirs in zip(one, two, strict=True):
        check_export(mine)
        check_export(theirs)
        assert compare_episodes((mine.header, mine.canonical), (theirs.header, theirs.canonical)) is None
        assert mine.digest == theirs.digest
        assert mine.header.frames == FRAMES
        audit = replay(mine.header, mine.canonical, limited(game(), FRAMES))
        assert compare_episodes((mine.header, mine.canonical), (mine.header, audit)) is None

    for player in first.players:
        for export in player.exports:
            stats = export.own.stats
            assert stats["checksums_compared"] > 0
            assert stats["checksums_matched"] == stats["checksums_compared"]
            assert stats["rollback_depth_max"] <= 8
    rollbacks = [sum(export.own.stats["rollbacks"] for export in player.exports) for player in first.players]
    if has_to_guess(name, delay):
        assert min(rollbacks) > 0
    if name in ("local", "lan") and delay == 2:
        assert rollbacks == [0, 0]
    inputs = one[0].canonical.columns["actions/" + one[0].header.game.agents[0]].array()
    assert (inputs[1:] != inputs[:-1]).any(axis=1).sum() >= FRAMES // 20, "the inputs were not active"


def test_most_conditions_have_to_guess() -> None:
    """The floor of :func:`test_condition` holds for what it should."""
    assert [sum(has_to_guess(name, delay) for name in CONDITIONS) for delay in DELAYS] == [17, 13]
