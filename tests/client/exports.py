"""Real exports, played in the simulator, for tests that carry them about."""

from __future__ import annotations

from functools import cache

from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import Simulator
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export import Export
from rollgym.protocol.messages import PlaySettings


@cache
def played(episodes: int = 3) -> tuple[tuple[Export, ...], ...]:
    """Per player, the exports of a short match of Drift."""
    scenario = Scenario(
        PlaySettings(episodes=episodes, frame_limit=30),
        lambda: make("drift"),
        [lambda game, player: make_policy("random", game.spec, player, player)] * 2,
        seed=7,
    )
    result = Simulator(scenario).run()
    exports = tuple(tuple(player.exports) for player in result.players)
    assert [len(each) for each in exports] == [episodes, episodes]
    return exports
