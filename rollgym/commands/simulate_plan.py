"""What ``rollgym simulate`` plays: an experiment file, the flags, or both; flags replace what the file says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from rollgym.checking.raised import described
from rollgym.client_sim.network_model import PERFECT, Link
from rollgym.client_sim.peer.prediction_rules import find_rule
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT
from rollgym.client_sim.simulator.scenario import Pause
from rollgym.commands.exits import refuse
from rollgym.commands.options import parameters_from
from rollgym.config.file import Bot, ExperimentFile
from rollgym.config.problems import ConfigError
from rollgym.config.reading import find_config, load_config
from rollgym.games.contract import GameSpec
from rollgym.games.description import Description
from rollgym.games.errors import GameError
from rollgym.games.npcs.npc import NPCS
from rollgym.games.policies.catalogue import located, make_policy
from rollgym.games.registry import default_policy
from rollgym.protocol.episode.export import MAX_FRAMES
from rollgym.running.simulated import Plan
from rollgym.server.feasible import find_problems
from rollgym.server.settings import MEBIBYTE, Experiment, GameSettings, Limits, Play

WITHOUT_SERVER = Limits(
    connections=1 << 16,
    message_bytes=1 << 30,
    relay_packets_per_second=1e9,
    upload_bytes=1 << 40,
    export_bytes=1000 * MEBIBYTE,
    episode_frames=MAX_FRAMES,
)
"""What a file holds; there is no server to have limits of its own."""

MINUTES = 10
"""Minutes of play after which an episode is truncated if nothing else says when: some games never end."""


@dataclass(frozen=True)
class Flags:
    """The flags that stand for what a file may say. None: not given."""

    game: str | None
    param: list[str] | None
    npc: list[str] | None
    episodes: int | None
    frames: int | None
    seed: int | None
    fps: float | None
    input_delay: int | None
    max_prediction: int | None
    prediction: str | None
    policy: list[str] | None
    link: Link | None
    pauses: list[Pause]


def read_plan(config: str | None, flags: Flags) -> tuple[Plan, GameSpec]:
    """The plan, and what the game says of itself. Ends with 2 for what cannot be played, before anything is."""
    folder = Path.cwd()  # a game may change it
    if config is None and flags.game is None:
        refuse("nothing to play: name a game (--game pong) or an experiment file (rollgym simulate my.yaml)")
    file = None
    if config is not None:
        try:
            file = load_config(find_config(config))
        except ConfigError as error:
            refuse(str(error))
    experiment = file.experiment if file is not None else Experiment()
    game = _game(experiment.game if file is not None else None, flags)
    spec = _spec(game)
    play = _play(experiment.play, flags, float(spec.fps), file is None)
    _check_feasible(spec, play)
    seed = flags.seed if flags.seed is not None else experiment.seed
    experiment = experiment.model_copy(update={"game": game, "play": play, "seed": 0 if seed is None else seed})
    link = flags.link or (file.network.link() if file is not None else Link.both(PERFECT))
    bots = _bots(file, flags, spec, folder)
    for item in flags.pauses:
        if item.player >= spec.players:
            message = f"player {item.player}: expected 0..{spec.players - 1}"
            raise typer.BadParameter(message, param_hint="--pause")
    prediction = _prediction(file, flags)
    return Plan(experiment, play.settings(spec.fps), bots, link, tuple(flags.pauses), folder, prediction), spec


def _game(of_file: GameSettings | None, flags: Flags) -> GameSettings:
    given = parameters_from(flags.param, flags.npc)
    npcs = given.pop(NPCS, {})
    game_id = flags.game if flags.game is not None else of_file.id if of_file is not None else ""
    if of_file is not None and flags.game in (None, of_file.id):
        given = {**of_file.parameters, **given}
        npcs = {**of_file.npcs, **npcs}
    try:
        return GameSettings(id=game_id, parameters=given, npcs=npcs)
    except ValidationError as error:
        refuse("\n".join(item["msg"].removeprefix("Value error, ") for item in error.errors(include_url=False)))


def _spec(game: GameSettings) -> GameSpec:
    try:
        made = game.make()
        spec = made.spec
        made.close()
    except GameError as error:
        refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        refuse(f"{game.id} cannot be made: {described(error)}")
    return spec


def _check_feasible(spec: GameSpec, play: Play) -> None:
    found = find_problems(Description.of(spec), play.settings(spec.fps), WITHOUT_SERVER)
    if found:
        said = [f"{spec.id}: {p.message}" if p.field == "experiment.game" else str(p) for p in found]
        refuse("\n".join(said))


def _play(play: Play, flags: Flags, game_fps: float, alone: bool) -> Play:
    given = {
        "episodes": flags.episodes,
        "frame_limit": flags.frames,
        "fps": flags.fps,
        "input_delay": flags.input_delay,
        "max_prediction": flags.max_prediction,
    }
    play = play.model_copy(update={name: value for name, value in given.items() if value is not None})
    if alone and play.frame_limit is None:
        rate = game_fps if play.fps is None else play.fps
        return play.model_copy(update={"frame_limit": max(1, round(60 * MINUTES * rate))})
    return play


def _prediction(file: ExperimentFile | None, flags: Flags) -> str:
    name = flags.prediction or (DEFAULT if file is None else file.prediction)
    try:
        find_rule(name)  # refused here, before anything is played
    except GameError as error:
        refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        refuse(f"prediction {name} cannot be imported: {described(error)}")
    return name


def _bots(file: ExperimentFile | None, flags: Flags, spec: GameSpec, folder: Path) -> tuple[Bot, ...]:
    names = flags.policy or []
    if len(names) not in (0, 1, spec.players):
        raise typer.BadParameter(f"{len(names)} policies: expected 1 or {spec.players}", param_hint="--policy")
    given = [*(file.bots if file is not None else ())][: spec.players]
    given += [Bot()] * (spec.players - len(given))
    if names:
        given = [Bot(policy=name) for name in (names * spec.players if len(names) == 1 else names)]
    bots = []
    for player, bot in enumerate(given):
        policy, seed = bot.policy or default_policy(spec.id), player + 1 if bot.seed is None else bot.seed
        arguments = located(policy, bot.parameters, folder)
        try:
            make_policy(policy, spec, player, seed, **arguments)  # refused here, before anything is played
        except GameError as error:
            refuse(str(error))
        except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
            refuse(f"policy {policy} cannot be made: {described(error)}")
        bots.append(bot.model_copy(update={"policy": policy, "seed": seed}))
    return tuple(bots)
