"""Every game of the shelf is played by two peers over bad networks, and both have the same record.

The development lock holds all of these games: one that is not installed is a failure, not a skip.
"""

from __future__ import annotations

from typing import Any

import pytest

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game
from rollgym.games.env_catalogue.builds import GAMES, LAYOUTS, LEVELS
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.verdicts import find

EPISODES = 3
NETWORKS = ("constant_100", "wifi_average", "terrible")
SHORT: dict[str, dict[str, Any]] = {
    "lbforaging": {"max_steps": 20},
    "rware": {"max_steps": 20},
    "slimevb": {"max_steps": 20},
    "knights_archers_zombies": {"max_steps": 25},
    "atari_pong": {"max_steps": 25},
    "two_player_robot": {"max_steps": 20},
    "overcooked_ai": {"max_steps": 20},
    "highway": {"max_steps": 10, "others": 2},
    "multigrid": {"max_steps": 20},
}
"""Parameters that make episodes short; the others are short as they are."""
BY_TURNS = ("tictactoe", "connect_four", "hanabi")
WITH_RULES = ("goofspiel", "oshi_zumo")


def test_the_whole_shelf_is_installed() -> None:
    assert [game_id for game_id, entry in SHELF.items() if not entry.installed] == []


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("game_id", SHELF)
def test_two_peers_have_the_same_record(game_id: str, network: str) -> None:
    play(game_id, SHORT.get(game_id, {}), network)


@pytest.mark.parametrize("game", [name for name in GAMES if name != "prisoners_dilemma"])
def test_two_peers_move_at_once(game: str) -> None:
    play("openspiel", {"game": game, "moves": 12}, "constant_100")


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_two_peers_cook_in_every_kitchen(layout: str) -> None:
    play("overcooked_ai", {"layout": layout, "max_steps": 12}, "constant_100")


@pytest.mark.parametrize("level", [name for name in LEVELS if name != "red_blue_doors"])
def test_two_peers_walk_through_every_level(level: str) -> None:
    play("multigrid", {"level": level, "max_steps": 12}, "constant_100")


def test_two_cars_meet_at_the_intersection() -> None:
    play("highway", {"road": "intersection", "max_steps": 6, "others": 2}, "constant_100", episodes=1)


def test_two_peers_hunt_with_npcs() -> None:
    npcs = {"adversary_1": "random_hold", "adversary_2": "random"}
    play("simple_tag", {"adversaries": 3, "npcs": npcs}, "constant_100")


def play(game_id: str, parameters: dict[str, Any], network: str, episodes: int = EPISODES) -> None:
    name = "random_legal" if game_id in BY_TURNS or parameters.get("game") in WITH_RULES else "random"

    def game() -> Game:
        return make(game_id, parameters)

    def policy(mine: Game, player: int) -> Policy:
        return make_policy(name, mine.spec, player, 40 + player)

    settings = PlaySettings(episodes=episodes, fps=20.0, frame_limit=30, input_delay=0, max_prediction=8)
    result = simulate(Scenario(settings, game, [policy, policy], seed=7, link=link(network)))

    first, second = (player.exports for player in result.players)
    assert len(first) == len(second) == episodes
    judge = game()
    for one, two in zip(first, second, strict=True):
        check_export(one)
        check_export(two)
        assert one.header.frames > 3
        assert compare_episodes((one.header, one.canonical), (two.header, two.canonical)) is None
        assert find([one, two], 2, judge).verdict == "verified"
    judge.close()
    assert not [desync for player in result.players for desync in player.desyncs]
    assert sum(export.own.stats["rollbacks"] for export in (*first, *second)) > 0
    assert len({export.header.seed for export in first}) == episodes
