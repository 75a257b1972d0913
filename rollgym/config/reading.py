"""From a path or a name to a checked experiment file.

Everything is checked before anything is started; all mistakes are told at once (:mod:`rollgym.config.problems`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from rollgym.checking.raised import described
from rollgym.client_sim.peer.prediction_rules import FIELD, check_name, find_rule
from rollgym.config.file import ExperimentFile
from rollgym.config.problems import ConfigError, Problem, allowed, line_of, short, value_problem
from rollgym.config.shipped import builtin_config, builtin_configs
from rollgym.config.yaml_source import YamlError, read_yaml
from rollgym.games.code_names import is_code_name
from rollgym.games.description import Description
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import available_policies
from rollgym.server.feasible import find_problems
from rollgym.study.key_paths import KeyPath


def find_config(given: str | None) -> Path:
    """The file meant by a path or the name of a built-in experiment; None means ``pong``.

    Raises :class:`ConfigError` if there is no such file.
    """
    if given is not None and (os.sep in given or given.endswith((".yaml", ".yml", ".json"))):
        path = Path(given)
        # `config/pong.yaml` is what the documentation says, also where there is no checkout.
        if not path.exists() and path.parent == Path("config") and path.stem in builtin_configs():
            return builtin_configs()[path.stem]
        return path
    try:
        return builtin_config(given or "pong")
    except FileNotFoundError as error:
        raise ConfigError(given or "pong", [Problem(None, "", str(error))]) from error


def load_config(path: Path) -> ExperimentFile:
    """Read and check an experiment file. Raises :class:`ConfigError` with every mistake in it."""
    return read_config(path)[0]


def read_config(path: Path) -> tuple[ExperimentFile, Description]:
    """:func:`load_config`, and what was found out about the game. Not to be called where an event loop runs."""
    name, (file, lines) = os.fspath(path), _parse(path)
    try:
        description = file.describe()
    except GameError as error:
        raise ConfigError(name, [_game_problem(error, file, lines)]) from error
    problems = _check_bots(file, description, lines) + _check_feasible(file, description, lines)
    problems += _check_prediction(file, lines)
    if problems:
        raise ConfigError(name, problems)
    return file, description


def parse_config(path: Path) -> ExperimentFile:
    """An experiment file without a look at its game, which somebody has checked before. Raises :class:`ConfigError`."""
    return _parse(path)[0]


def _parse(path: Path) -> tuple[ExperimentFile, dict[KeyPath, int]]:
    name = os.fspath(path)
    try:
        source = read_yaml(path)
    except OSError as error:
        raise ConfigError(name, [Problem(None, "", f"cannot be read: {error.strerror or error}")]) from error
    except YamlError as error:
        raise ConfigError(name, [Problem(error.line, "", str(error))]) from error
    values = {} if source.values is None else source.values
    if not isinstance(values, dict):
        raise ConfigError(name, [Problem(1, "", f"{short(values)}: expected keys {allowed(ExperimentFile)}")])
    try:
        file = ExperimentFile.model_validate(values)
    except ValidationError as error:
        problems = [value_problem(ExperimentFile, dict(item), source.lines) for item in error.errors(include_url=False)]
        raise ConfigError(name, problems) from error
    problems = _check_policies(file, source.lines)
    try:
        check_name(file.prediction)
    except GameError as error:
        problems.append(_prediction_problem(error, source.lines))
    if problems:
        raise ConfigError(name, problems)
    return file, source.lines


def _check_prediction(file: ExperimentFile, lines: dict[KeyPath, int]) -> list[Problem]:
    """Is there a prediction rule of that name? The module of one of the user's own is imported."""
    try:
        find_rule(file.prediction)
    except GameError as error:
        return [_prediction_problem(error, lines)]
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        expected = GameError(FIELD, file.prediction, f"a module that can be imported ({described(error)})")
        return [_prediction_problem(expected, lines)]
    return []


def _prediction_problem(error: GameError, lines: dict[KeyPath, int]) -> Problem:
    return Problem(line_of(lines, (FIELD,)), FIELD, f"{error.value!r}: expected {error.expected}")


def _game_problem(error: GameError, file: ExperimentFile, lines: dict[KeyPath, int]) -> Problem:
    """Why the game cannot be made: of a game that is not built in, only making it tells."""
    game_id = file.experiment.game.id
    if error.field == f"{game_id} parameters":
        key, message = "parameters", f"{short(error.value)}: expected {error.expected}"
    elif error.field.startswith((f"{game_id}.", "npcs")):
        key, message = ("npcs" if error.field.startswith("npcs") else "parameters"), str(error)
    else:
        named = repr(error.value) == repr(game_id)
        key, message = "id", f"{game_id!r}: expected {error.expected}" if named else f"{game_id!r}: {error}"
    message = "\n".join([message, *getattr(error, "__notes__", ())])
    return Problem(line_of(lines, ("experiment", "game", key)), f"experiment.game.{key}", message)


def _check_policies(file: ExperimentFile, lines: dict[KeyPath, int]) -> list[Problem]:
    """Are the bots' policies known, and can their parameters be handed on?"""
    problems = []
    known = available_policies()
    expected = f"one of {', '.join(known)}, or package.module:callable"
    for player, bot in enumerate(file.bots):
        where: KeyPath = ("bots", player)
        if bot.policy is not None and bot.policy not in known and not is_code_name(bot.policy):
            line = lines.get((*where, "policy"))
            problems.append(Problem(line, f"bots.{player}.policy", f"{bot.policy!r}: expected {expected}"))
        try:
            json.dumps(bot.parameters)
        except (TypeError, ValueError) as error:
            key, line = f"bots.{player}.parameters", line_of(lines, (*where, "parameters"))
            problems.append(Problem(line, key, f"{short(bot.parameters)}: expected JSON values ({error})"))
    return problems


def _check_bots(file: ExperimentFile, description: Description, lines: dict[KeyPath, int]) -> list[Problem]:
    """Can the bots play the game?"""
    players = description.players
    if len(file.bots) > players:
        message = f"{len(file.bots)} bots: expected at most {players}, the players of {description.game.id}"
        return [Problem(lines.get(("bots",)), "bots", message)]
    return [
        Problem(lines.get(("bots", player)), f"bots.{player}", str(refusal.error()))
        for player, refusal in sorted(description.refused.items())
    ]


def _check_feasible(file: ExperimentFile, description: Description, lines: dict[KeyPath, int]) -> list[Problem]:
    """Can what is configured be played, and recorded within the limits?"""
    play = file.experiment.play.settings(description.fps)
    return [
        Problem(line_of(lines, tuple(field.split("."))), field, message)
        for field, message in find_problems(description, play, file.server.limits)
    ]
