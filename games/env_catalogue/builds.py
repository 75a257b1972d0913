"""How the environments of the shelf are made from their resolved parameters. Packages are imported only then."""

from __future__ import annotations

import contextlib
import io
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rollgym.games.errors import GameError

LAYOUTS = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
    "centre_pots",
    "large_room",
    "bottleneck",
)

LEVELS = {
    "empty": "MultiGrid-Empty-Random-6x6-v0",
    "unlock": "MultiGrid-BlockedUnlockPickup-v0",
    "hallway": "MultiGrid-LockedHallway-2Rooms-v0",
    "red_blue_doors": "MultiGrid-RedBlueDoors-8x8-v0",
    "playground": "MultiGrid-Playground-v0",
}
"""Ids that multigrid registers, by the name here."""

GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "prisoners_dilemma": ("repeated_game", {"stage_game": "matrix_pd", "num_repetitions": None}),
    "stag_hunt": ("repeated_game", {"stage_game": "matrix_sh", "num_repetitions": None}),
    "rock_paper_scissors": ("repeated_game", {"stage_game": "matrix_rps", "num_repetitions": None}),
    "goofspiel": ("goofspiel", {"num_cards": 13, "imp_info": True, "points_order": "random"}),
    "oshi_zumo": ("oshi_zumo", {"horizon": None}),
    "laser_tag": ("laser_tag", {"horizon": None}),
    "markov_soccer": ("markov_soccer", {"horizon": None}),
    "coop_box_pushing": ("coop_box_pushing", {"horizon": None}),
}
"""OpenSpiel's name of the game and its parameters; None stands for the number of moves."""

_CARS_FPS = 5


def _gym_unheard() -> None:
    """gym, which shimmy and overcooked_ai import, prints that it is old; here nobody plays with it."""
    if find_spec("gym") is not None:
        with contextlib.redirect_stderr(io.StringIO()):
            import_module("gym")


def slimevb(p: dict[str, Any]) -> Any:
    from slime_volleyball.slimevolley_env import SlimeVolleyEnv

    return SlimeVolleyEnv(config={"backend": "numpy", "max_steps": p["max_steps"]})


def lbforaging(p: dict[str, Any]) -> Any:
    from lbforaging.foraging import ForagingEnv

    return ForagingEnv(
        players=p["players"],
        min_player_level=1,
        max_player_level=2,
        min_food_level=1,
        max_food_level=None,
        field_size=(p["size"], p["size"]),
        max_num_food=p["food"],
        sight=p["size"],
        max_episode_steps=p["max_steps"],
        force_coop=p["mode"] == "coop",
    )


def rware(p: dict[str, Any]) -> Any:
    import gymnasium
    import rware  # noqa: F401 - registers its ids

    name = f"rware-{p['size']}-{p['players']}ag-v2"
    return gymnasium.make(name, disable_env_checker=True, max_steps=p["max_steps"])


def simple_spread(p: dict[str, Any]) -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=p["players"], max_cycles=p["max_steps"])


def simple_tag(p: dict[str, Any]) -> Any:
    from mpe2 import simple_tag_v3

    return simple_tag_v3.parallel_env(
        num_good=p["good"],
        num_adversaries=p["adversaries"],
        num_obstacles=p["obstacles"],
        max_cycles=p["max_steps"],
    )


def kaz(p: dict[str, Any]) -> Any:
    import pygame

    # Some packages bring `pygame`, which lies in the same folder and draws other masks.
    if not getattr(pygame, "IS_CE", False):
        expected = "pygame-ce, not pygame: pip uninstall pygame, then pip install --force-reinstall pygame-ce"
        raise GameError("pygame", pygame.version.ver, expected)
    from pettingzoo.butterfly.knights_archers_zombies.knights_archers_zombies import parallel_env

    return parallel_env(num_archers=p["archers"], num_knights=p["knights"], max_cycles=p["max_steps"])


def tictactoe(p: dict[str, Any]) -> Any:
    from pettingzoo.classic.tictactoe.tictactoe import env

    return env()


def connect_four(p: dict[str, Any]) -> Any:
    from pettingzoo.classic.connect_four.connect_four import env

    return env()


def hanabi(p: dict[str, Any]) -> Any:
    _gym_unheard()
    from pettingzoo.classic.hanabi.hanabi import env

    return env(colors=p["colors"], ranks=p["ranks"], players=2, hand_size=p["hand_size"])


def atari_pong(p: dict[str, Any]) -> Any:
    from pettingzoo.atari.pong.pong import parallel_env

    return parallel_env(obs_type=p["observation"], max_cycles=p["max_steps"], auto_rom_install_path=str(roms().parent))


def roms() -> Path:
    """The folder ``roms`` of ale-py, which ships them; multi_agent_ale_py only reads them."""
    spec = find_spec("ale_py")
    if spec is None or spec.origin is None:
        raise GameError("game", "atari_pong", "ale-py to be installed: it ships the cartridges")
    return Path(spec.origin).parent / "roms"


def robot(p: dict[str, Any]) -> Any:
    from rollgym.games.adapters.mujoco_split import SplitRobot

    return SplitRobot(p["robot"], p["max_steps"])


def highway(p: dict[str, Any]) -> Any:
    import gymnasium
    import highway_env  # noqa: F401 - registers its ids

    config: dict[str, Any] = {
        "controlled_vehicles": p["cars"],
        "policy_frequency": _CARS_FPS,
        # The time limit is the wrapper's: seconds of a sum of fractions are no number of frames.
        "duration": 10**9,
    }
    if p["road"] == "highway":
        name = "highway-v0"
        config["vehicles_count"] = p["others"]
        config["action"] = {"type": "MultiAgentAction", "action_config": {"type": "DiscreteMetaAction"}}
        config["observation"] = {"type": "MultiAgentObservation", "observation_config": {"type": "Kinematics"}}
    else:
        name = "intersection-multi-agent-v2"
        config["initial_vehicle_count"] = p["others"]
    return gymnasium.make(name, disable_env_checker=True, config=config, max_episode_steps=p["max_steps"])


def multigrid(p: dict[str, Any]) -> Any:
    from rollgym.games.adapters.multigrid_env import SeededMultiGrid

    return SeededMultiGrid(LEVELS[p["level"]], p["players"], p["max_steps"])


def openspiel(p: dict[str, Any]) -> Any:
    _gym_unheard()
    from rollgym.games.adapters.openspiel_env import SimultaneousGame

    name, parameters = GAMES[p["game"]]
    return SimultaneousGame(name, {key: p["moves"] if value is None else value for key, value in parameters.items()})


def overcooked_ai(p: dict[str, Any]) -> Any:
    _gym_unheard()
    from rollgym.games.adapters.overcooked_ai_env import OvercookedAi

    return OvercookedAi(p["layout"], p["max_steps"])
