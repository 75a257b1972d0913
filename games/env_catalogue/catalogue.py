"""Games of other packages that are known to play well, each under a name of its own and behind an extra.

They are environments like any that a user brings; what is here is how to make them, for how long, and how fast.
Nothing is imported until a game is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

from rollgym.games.contract import Game
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.env_catalogue import builds as shelf_builds
from rollgym.games.env_catalogue.builds import GAMES, LAYOUTS, LEVELS
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
    action_mask: bool = False
    policy: str | None = None
    """The policy that plays it actively, if nobody names one. None: the one that plays any game."""
    compiles: bool = False
    """Its packages import or compile something when it is first played. In each process one is played a
    little and thrown away before the first that is handed out, so that no match's first frames wait for that."""

    @property
    def installed(self) -> bool:
        """Whether everything it needs can be imported."""
        return all(find_spec(module) is not None for module in self.needs)


def _steps(default: int, low: int = 1) -> Parameter:
    return Parameter("max_steps", default, "frames after which the episode is truncated", low=low, high=1_000_000)


_PLAYERS = Parameter("players", 2, "how many play", low=2, high=8)

SHELF: dict[str, Shelved] = {
    "slimevb": Shelved(
        "slime volleyball, one against one",
        "slimevb",
        ("slime_volleyball",),
        ("slimevb",),
        shelf_builds.slimevb,
        (_steps(3000),),
        50,
    ),
    "lbforaging": Shelved(
        "level-based foraging: apples that may need two to pick",
        "lbforaging",
        ("lbforaging",),
        ("lbforaging",),
        shelf_builds.lbforaging,
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
        shelf_builds.rware,
        (
            Parameter("players", 2, "how many play", low=2, high=16),
            Parameter("size", "tiny", "the warehouse", choices=("tiny", "small", "medium", "large")),
            _steps(500),
        ),
        10,
        compiles=True,
    ),
    "simple_spread": Shelved(
        "particles share the landmarks among them (MPE)",
        "mpe2",
        ("mpe2",),
        ("mpe2",),
        shelf_builds.simple_spread,
        (_PLAYERS, _steps(25)),
        10,
    ),
    "simple_tag": Shelved(
        "particles hunt a faster one (MPE)",
        "mpe2",
        ("mpe2",),
        ("mpe2",),
        shelf_builds.simple_tag,
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
        shelf_builds.kaz,
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
        shelf_builds.tictactoe,
        (),
        2,
        wait=True,
        policy="random_legal",
    ),
    "connect_four": Shelved(
        "four in a row, by turns",
        "classic",
        ("pettingzoo", "pygame"),
        ("pettingzoo",),
        shelf_builds.connect_four,
        (),
        2,
        wait=True,
        policy="random_legal",
    ),
    "hanabi": Shelved(
        "fireworks from cards that only the other sees, by turns (OpenSpiel)",
        "classic",
        ("pettingzoo", "pyspiel", "shimmy", "pygame"),
        ("pettingzoo", "open-spiel"),
        shelf_builds.hanabi,
        (
            Parameter("colors", 5, "colours", low=2, high=5),
            Parameter("ranks", 5, "ranks", low=2, high=5),
            Parameter("hand_size", 5, "cards in a hand", low=2, high=5),
        ),
        2,
        wait=True,
        policy="random_legal",
    ),
    "atari_pong": Shelved(
        "Pong for two on an Atari 2600",
        "atari",
        ("pettingzoo", "multi_agent_ale_py", "ale_py", "pygame"),
        ("multi-agent-ale-py", "ale-py"),
        shelf_builds.atari_pong,
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
        shelf_builds.robot,
        (
            Parameter("robot", "HalfCheetah-v5", "the body", choices=("HalfCheetah-v5", "Walker2d-v5")),
            _steps(1000),
        ),
        20,
    ),
    "overcooked_ai": Shelved(
        "two cooks, the reference game of human-AI work (overcooked_ai)",
        "overcooked_ai",
        ("overcooked_ai_py", "gym", "pettingzoo"),
        ("overcooked-ai",),
        shelf_builds.overcooked_ai,
        (
            Parameter("layout", LAYOUTS[0], "the kitchen", choices=LAYOUTS),
            _steps(400),
        ),
        10,
        idle=4,
    ),
    "highway": Shelved(
        "cars among others, on a highway or at an intersection (highway-env)",
        "highway",
        ("highway_env",),
        ("highway-env",),
        shelf_builds.highway,
        (
            Parameter("road", "highway", "where they drive", choices=("highway", "intersection")),
            Parameter("cars", 2, "cars with a player", low=1, high=8),
            Parameter("others", 8, "cars without", low=0, high=50),
            _steps(150),
        ),
        5,
    ),
    "multigrid": Shelved(
        "agents in a grid of rooms, doors and keys (multigrid)",
        "multigrid",
        ("multigrid", "numba"),
        ("multigrid",),
        shelf_builds.multigrid,
        (
            Parameter("level", "red_blue_doors", "the rooms", choices=tuple(LEVELS)),
            _PLAYERS,
            _steps(100),
        ),
        10,
        idle=6,
        compiles=True,
    ),
    "openspiel": Shelved(
        "games in which both move at once (OpenSpiel through shimmy)",
        "openspiel",
        ("pyspiel", "shimmy", "pettingzoo"),
        ("open-spiel", "shimmy"),
        shelf_builds.openspiel,
        (
            Parameter("game", "prisoners_dilemma", "which one", choices=tuple(GAMES)),
            Parameter("moves", 20, "after how many it ends, if it has no length of its own", low=1, high=10_000),
        ),
        2,
        action_mask=True,
        policy="random_legal",
    ),
}


_COMPILED: set[str] = set()
"""Games that have been played in this process."""
_FEW = 30
"""Frames of random actions: enough that robots drive into each other's way."""


def make_shelved(game_id: str, given: Mapping[str, Any]) -> Game:
    """A game of the shelf. Raises :class:`~rollgym.games.errors.GameError` for parameters it does not take."""
    entry = SHELF[game_id]
    parameters = resolve(game_id, entry.parameters, given)
    if entry.compiles and game_id not in _COMPILED:
        _play_a_little(_made(game_id, entry, parameters))
        _COMPILED.add(game_id)
    return _made(game_id, entry, parameters)


def _made(game_id: str, entry: Shelved, parameters: dict[str, Any]) -> Game:
    from rollgym.games.adapters.adapted import AdaptedGame
    from rollgym.games.adapters.options import AdapterOptions
    from rollgym.games.adapters.version import ADAPTER_VERSION

    return AdaptedGame(
        entry.build(parameters),
        game_id=game_id,
        version="+".join([str(ADAPTER_VERSION), *(f"{name}-{version(name)}" for name in entry.distributions)]),
        parameters=parameters,
        options=AdapterOptions(fps=entry.fps, idle=entry.idle, wait=entry.wait, action_mask=entry.action_mask),
    )


def _play_a_little(game: Game) -> None:
    samplers = [sampler(space) for space in game.spec.action_spaces]
    game.reset(0)
    for frame in range(_FEW):
        draws = [sample(Draws(0, 0, agent, frame)) for agent, sample in enumerate(samplers)]
        if game.step(tuple(codec.encode(draw) for codec, draw in zip(game.spec.codecs, draws, strict=True))).terminal:
            break
    game.close()
