"""The experiment file: what is played, by which bots, over which network, and where the data goes.

``docs/configuration.md`` lists every key. Everything is checked before anything is started; all mistakes are told
at once, each with its line, its key, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from rollgym.client_sim.network_model import CONDITIONS, ConditionsError, Link, NetworkConditions
from rollgym.config.shipped import builtin_config, builtin_configs
from rollgym.config.yaml_source import KeyPath, YamlError, read_yaml
from rollgym.games.code_names import is_code_name
from rollgym.games.contract import GameSpec
from rollgym.games.description import Description, Driver, described_blocking
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import available_policies
from rollgym.games.policies.default_policy import default_policy as default_policy
from rollgym.protocol.packets import MAX_PLAYERS
from rollgym.server.feasible import find_problems
from rollgym.server.settings import Experiment, ServerSettings


class Problem(NamedTuple):
    """One mistake in a file."""

    line: int | None
    key: str
    message: str


class ConfigError(Exception):
    """A configuration that cannot be used. ``problems`` has one entry for each mistake."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(_text(path, problem) for problem in problems))


def _text(path: str, problem: Problem) -> str:
    place = path if problem.line is None else f"{path}:{problem.line}"
    return f"{place}: {problem.key}: {problem.message}" if problem.key else f"{place}: {problem.message}"


# --- numbers with units -----------------------------------------------------------------------------------------

_DURATION = re.compile(r"\s*([0-9.eE+-]+)\s*(ms|s)?\s*")
_SHARE = re.compile(r"\s*([0-9.eE+-]+)\s*(%)?\s*")


def duration(value: Any) -> float:
    """Seconds from ``40``, ``"40ms"`` or ``"0.04s"``: a bare number is milliseconds. Raises ``ValueError``."""
    number, unit = _number(value, _DURATION, "a time such as 40ms or 0.04s (a bare number is milliseconds)")
    if unit is None and 0 < number < 1:
        raise ValueError(f"{value!r} would be less than a millisecond: write {value}ms or {value}s")
    return number if unit == "s" else number / 1000


def share(value: Any) -> float:
    """A probability from ``0.02`` or ``"2%"``. Raises ``ValueError``."""
    number, unit = _number(value, _SHARE, "a probability such as 0.02 or 2%")
    number = number / 100 if unit == "%" else number
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r}: expected a probability from 0 to 1, or 0% to 100%")
    return number


def _number(value: Any, pattern: re.Pattern[str], expected: str) -> tuple[float, str | None]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r}: expected {expected}")
    found = pattern.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{value!r}: expected {expected}")
    try:
        return float(found[1]), found[2]
    except ValueError:
        raise ValueError(f"{value!r}: expected {expected}") from None


Duration = Annotated[float, BeforeValidator(duration)]
Share = Annotated[float, BeforeValidator(share)]


# --- the file ---------------------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bot(_Section):
    """Who plays one seat."""

    policy: str | None = None
    """None: a policy that plays the game actively (:func:`default_policy`)."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """None: the seat's index plus 1, so that two bots never draw alike."""


class Network(_Section):
    """What each peer's transport does to the packets it sends: one of the named conditions, or numbers.

    All values are one way, so a round trip takes twice the latency. A file may give just the name.
    """

    name: str | None = None
    latency: Duration = 0.0
    jitter: Duration = 0.0
    loss: Share = 0.0
    reorder: Share = 0.0
    reorder_delay: Duration = NetworkConditions.reorder_delay
    duplicate: Share = 0.0
    burst_start: Share = 0.0
    burst_length: int = 0
    retransmit: Duration = 0.0

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _usable(self) -> Network:
        self.link()
        return self

    def link(self) -> Link:
        """The conditions of both directions. ``ValueError`` if they do not fit together."""
        numbers = self.model_dump(exclude={"name"}, exclude_unset=True)
        if self.name is None:
            return Link.both(NetworkConditions(**numbers).check_that_it_carries())
        if numbers:
            raise ValueError(f"either name or numbers: got name {self.name!r} and {', '.join(numbers)}")
        if self.name not in CONDITIONS:
            raise ConditionsError("name", self.name, f"one of {', '.join(CONDITIONS)}")
        return CONDITIONS[self.name]


class ExperimentFile(_Section):
    """A whole file. ``rollgym serve`` uses ``server`` and ``experiment``, ``rollgym run`` everything."""

    experiment: Experiment = Field(default_factory=Experiment)
    server: ServerSettings = Field(default_factory=ServerSettings)
    bots: tuple[Bot, ...] = ()
    """One per player, in the order of joining; those not given play with the defaults."""
    network: Network = Field(default_factory=Network)

    @field_validator("server", mode="before")
    @classmethod
    def _one_experiment(cls, value: Any) -> Any:
        if isinstance(value, dict) and "experiment" in value:
            raise ValueError("experiment does not belong here: it is a section of its own")
        return value

    def server_settings(self, **changes: Any) -> ServerSettings:
        """What the server is started with; ``changes`` replace single settings of it."""
        return self.server.model_copy(update={"experiment": self.experiment, **changes})

    def all_bots(self, game: GameSpec | Description) -> list[Bot]:
        """One bot per player with nothing left open."""
        game_id = game.game.id if isinstance(game, Description) else game.id
        return self._bots(game_id, game.players)

    def _bots(self, game_id: str, players: int) -> list[Bot]:
        given = [*self.bots, *[Bot()] * (players - len(self.bots))]
        return [
            bot.model_copy(
                update={
                    "policy": bot.policy or default_policy(game_id),
                    "seed": player + 1 if bot.seed is None else bot.seed,
                }
            )
            for player, bot in enumerate(given)
        ]

    def bot(self, seat: int) -> Bot:
        """The bot of one seat with nothing left open. The seat has to be one of the game's."""
        return self._bots(self.experiment.game.id, MAX_PLAYERS)[seat]

    def describe(self) -> Description:
        """What is known of the game, and which bots cannot play it: asked of a process of its own.

        Raises :class:`~rollgym.games.errors.GameError`. Not to be called where an event loop runs.
        """
        game = self.experiment.game
        drivers = [Driver(bot.policy or "", bot.parameters, bot.seed or 0) for bot in self._bots(game.id, MAX_PLAYERS)]
        return described_blocking(game.id, game.all_parameters(), drivers)


# --- reading ----------------------------------------------------------------------------------------------------


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
        raise ConfigError(name, [Problem(1, "", f"{_short(values)}: expected keys {_allowed(ExperimentFile)}")])
    try:
        file = ExperimentFile.model_validate(values)
    except ValidationError as error:
        problems = [_problem(dict(item), source.lines) for item in error.errors(include_url=False)]
        raise ConfigError(name, problems) from error
    problems = _check_policies(file, source.lines)
    if problems:
        raise ConfigError(name, problems)
    return file, source.lines


def _problem(item: dict[str, Any], lines: dict[KeyPath, int]) -> Problem:
    where: KeyPath = item["loc"]
    line = _line(lines, where)
    key = ".".join(map(str, where))
    if item["type"] == "extra_forbidden":
        model = _model_at(where[:-1])
        known = [] if model is None else list(model.model_fields)
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return Problem(line, key, f"unknown key; {hint}allowed: {', '.join(known)}")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return Problem(line, key, message)
    return Problem(line, key, f"{_short(item['input'])}: {message[0].lower()}{message[1:]}")


def _model_at(where: KeyPath) -> type[BaseModel] | None:
    """The section that lies at a key path."""
    model: type[BaseModel] | None = ExperimentFile
    for part in where:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None
        kind = Bot if part == "bots" else model.model_fields[part].annotation
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return model


def _allowed(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)


def _game_problem(error: GameError, file: ExperimentFile, lines: dict[KeyPath, int]) -> Problem:
    """Why the game cannot be made: of a game that is not built in, only making it tells."""
    game_id = file.experiment.game.id
    if error.field == f"{game_id} parameters":
        key, message = "parameters", f"{_short(error.value)}: expected {error.expected}"
    elif error.field.startswith((f"{game_id}.", "npcs")):
        key, message = ("npcs" if error.field.startswith("npcs") else "parameters"), str(error)
    else:
        named = repr(error.value) == repr(game_id)
        key, message = "id", f"{game_id!r}: expected {error.expected}" if named else f"{game_id!r}: {error}"
    message = "\n".join([message, *getattr(error, "__notes__", ())])
    return Problem(_line(lines, ("experiment", "game", key)), f"experiment.game.{key}", message)


def _line(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Where a key is, or the nearest one above it that is in the file."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)


def _check_policies(file: ExperimentFile, lines: dict[KeyPath, int]) -> list[Problem]:
    """Are the bots' policies known, and can their parameters be handed on?"""
    problems = []
    known = [policy.name for policy in available_policies()]
    expected = f"one of {', '.join(known)}, or package.module:callable"
    for player, bot in enumerate(file.bots):
        where: KeyPath = ("bots", player)
        if bot.policy is not None and bot.policy not in known and not is_code_name(bot.policy):
            line = lines.get((*where, "policy"))
            problems.append(Problem(line, f"bots.{player}.policy", f"{bot.policy!r}: expected {expected}"))
        try:
            json.dumps(bot.parameters)
        except (TypeError, ValueError) as error:
            key, line = f"bots.{player}.parameters", _line(lines, (*where, "parameters"))
            problems.append(Problem(line, key, f"{_short(bot.parameters)}: expected JSON values ({error})"))
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
        Problem(_line(lines, tuple(field.split("."))), field, message)
        for field, message in find_problems(description, play, file.server.limits)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
