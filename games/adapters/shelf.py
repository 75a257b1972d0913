"""Games of other packages that are known to play well, each under a name of its own and behind an extra.

They are environments like any that a user brings; what is here is how to make them, for how long, and how fast.
Nothing is imported until a game is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.parameters import Parameter, resolve


class Shelved(NamedTuple):
    """One game on the shelf."""

    summary: str
    extra: str
    needs: tuple[str, ...]
    """Top-level modules that the extra brings."""
    distributions: tuple[str, ...]
    """Whose versions count: two peers with different ones do not play each other."""
    build: Callable[[dict[str, Any]], Any]
    """Makes the environment from the resolved parameters."""
    parameters: tuple[Parameter, ...]
    fps: int
    idle: Any = None
    wait: bool = False

    @property
    def installed(self) -> bool:
        """Whether everything it needs can be imported."""
        return all(find_spec(module) is not None for module in self.needs)


def _steps(default: int, low: int = 1) -> Parameter:
    return Parameter("max_steps", default, "frames after which the episode is truncated", low=low, high=1_000_000)


def _slimevb(p: dict[str, Any]) -> Any:
    from slime_volleyball.slimevolley_env import SlimeVolleyEnv

    return SlimeVolleyEnv(config={"backend": "numpy", "max_steps": p["max_steps"]})


def _lbforaging(p: dict[str, Any]) -> Any:
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


def _rware(p: dict[str, Any]) -> Any:
    import gymnasium
    import rware  # noqa: F401 - registers its ids

    name = f"rware-{p['size']}-{p['players']}ag-v2"
    return gymnasium.make(name, disable_env_checker=True, max_steps=p["max_steps"])


def _simple_spread(p: dict[str, Any]) -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=p["players"], max_cycles=p["max_steps"])


def _simple_tag(p: dict[str, Any]) -> Any:
    from mpe2 import simple_tag_v3

    return simple_tag_v3.parallel_env(
        num_good=p["good"],
        num_adversaries=p["adversaries"],
        num_obstacles=p["obstacles"],
        max_cycles=p["max_steps"],
    )


def _kaz(p: dict[str, Any]) -> Any:
    from pettingzoo.butterfly.knights_archers_zombies.knights_archers_zombies import parallel_env

    return parallel_env(num_archers=p["archers"], num_knights=p["knights"], max_cycles=p["max_steps"])


def _tictactoe(p: dict[str, Any]) -> Any:
    from pettingzoo.classic.tictactoe.tictactoe import env

    return env()


def _connect_four(p: dict[str, Any]) -> Any:
    from pettingzoo.classic.connect_four.connect_four import env

    return env()


def _hanabi(p: dict[str, Any]) -> Any:
    from pettingzoo.classic.hanabi.hanabi import env

    return env(colors=p["colors"], ranks=p["ranks"], players=2, hand_size=p["hand_size"])


def _atari_pong(p: dict[str, Any]) -> Any:
    from pettingzoo.atari.pong.pong import parallel_env

    return parallel_env(obs_type=p["observation"], max_cycles=p["max_steps"], auto_rom_install_path=str(roms().parent))


def roms() -> Path:
    """The folder ``roms`` of ale-py, which ships them; multi_agent_ale_py only reads them."""
    spec = find_spec("ale_py")
    if spec is None or spec.origin is None:
        raise GameError("game", "atari_pong", "ale-py to be installed: it ships the cartridges")
    return Path(spec.origin).parent / "roms"


def _robot(p: dict[str, Any]) -> Any:
    from rollgym.games.adapters.mujoco_split import SplitRobot

    return SplitRobot(p["robot"], p["max_steps"])


_PLAYERS = Parameter("players", 2, "how many play", low=2, high=8)

SHELF: dict[str, Shelved] = {
    "slimevb": Shelved(
        "slime volleyball, one against one",
        "slimevb",
        ("slime_volleyball",),
        ("slimevb",),
        _slimevb,
        (_steps(3000),),
        50,
    ),
    "lbforaging": Shelved(
        "level-based foraging: apples that may need two to pick",
        "lbforaging",
        ("lbforaging",),
        ("lbforaging",),
        _lbforaging,
        (
            _PLAYERS,
            Parameter("size", 8, "cells a side", low=5, high=50),
            Parameter("food", 2, "apples", low=1, high=20),
            Parameter("mode", "mixed", "whether every apple needs all players", choices=("mixed", "coop")),
            _steps(50),
        ),
        5,
    ),
    "rware": Shelved(
        "robots fetch shelves in a warehouse",
        "rware",
        ("rware",),
        ("rware",),
        _rware,
        (
            Parameter("players", 2, "how many play", low=2, high=16),
            Parameter("size", "tiny", "the warehouse", choices=("tiny", "small", "medium", "large")),
            _steps(500),
        ),
        10,
    ),
    "simple_spread": Shelved(
        "particles share the landmarks among them (MPE)",
        "mpe2",
        ("mpe2",),
        ("mpe2",),
        _simple_spread,
        (_PLAYERS, _steps(25)),
        10,
    ),
    "simple_tag": Shelved(
        "particles hunt a faster one (MPE)",
        "mpe2",
        ("mpe2",),
        ("mpe2",),
        _simple_tag,
        (
            Parameter("good", 1, "runners", low=1, high=8),
            Parameter("adversaries", 1, "hunters", low=1, high=8),
            Parameter("obstacles", 2, "obstacles", low=0, high=8),
            _steps(25),
        ),
        10,
    ),
    "knights_archers_zombies": Shelved(
        "an archer and a knight against zombies (PettingZoo butterfly)",
        "butterfly",
        ("pettingzoo", "pygame"),
        ("pettingzoo", "pygame-ce"),
        _kaz,
        (
            Parameter("archers", 1, "archers", low=1, high=4),
            Parameter("knights", 1, "knights", low=1, high=4),
            _steps(900),
        ),
        15,
        idle=5,
    ),
    "tictactoe": Shelved(
        "noughts and crosses, by turns",
        "classic",
        ("pettingzoo", "pygame"),
        ("pettingzoo",),
        _tictactoe,
        (),
        2,
        wait=True,
    ),
    "connect_four": Shelved(
        "four in a row, by turns", "classic", ("pettingzoo", "pygame"), ("pettingzoo",), _connect_four, (), 2, wait=True
    ),
    "hanabi": Shelved(
        "fireworks from cards that only the other sees, by turns (OpenSpiel)",
        "classic",
        ("pettingzoo", "pyspiel", "shimmy", "pygame"),
        ("pettingzoo", "open-spiel"),
        _hanabi,
        (
            Parameter("colors", 5, "colours", low=2, high=5),
            Parameter("ranks", 5, "ranks", low=2, high=5),
            Parameter("hand_size", 5, "cards in a hand", low=2, high=5),
        ),
        2,
        wait=True,
    ),
    "atari_pong": Shelved(
        "Pong for two on an Atari 2600",
        "atari",
        ("pettingzoo", "multi_agent_ale_py", "ale_py", "pygame"),
        ("multi-agent-ale-py", "ale-py"),
        _atari_pong,
        (
            Parameter("observation", "ram", "what is seen", choices=("ram", "rgb_image", "grayscale_image")),
            _steps(18_000),
        ),
        60,
    ),
    "two_player_robot": Shelved(
        "a running robot, half of its joints each (MuJoCo)",
        "mujoco",
        ("mujoco", "imageio"),
        ("mujoco", "gymnasium"),
        _robot,
        (
            Parameter("robot", "HalfCheetah-v5", "the body", choices=("HalfCheetah-v5", "Walker2d-v5")),
            _steps(1000),
        ),
        20,
    ),
}


def make_shelved(game_id: str, given: Mapping[str, Any]) -> Game:
    """A game of the shelf. Raises :class:`~rollgym.games.errors.GameError` for parameters it does not take."""
    from rollgym.games.adapters.adapted import AdaptedGame
    from rollgym.games.adapters.options import AdapterOptions
    from rollgym.games.loading import ADAPTER_VERSION

    entry = SHELF[game_id]
    parameters = resolve(game_id, entry.parameters, given)
    return AdaptedGame(
        entry.build(parameters),
        game_id=game_id,
        version="+".join([str(ADAPTER_VERSION), *(f"{name}-{version(name)}" for name in entry.distributions)]),
        parameters=parameters,
        options=AdapterOptions(fps=entry.fps, idle=entry.idle, wait=entry.wait),
    )
