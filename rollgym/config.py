"""The experiment file: what is played, by which bots, over which network, and where the data goes.

``docs/configuration.md`` lists every key. Everything is checked before anything is started; all mistakes are told
at once, each with its line, its key, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import os
import re
import traceback
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from rollgym.client_sim.network import CONDITIONS, ConditionsError, Link, NetworkConditions
from rollgym.configs import builtin_config, builtin_configs
from rollgym.games.code_names import is_code_name
from rollgym.games.contract import GameSpec
from rollgym.games.errors import GameError
from rollgym.games.policies import available_policies, make_policy
from rollgym.server.settings import Experiment, ServerSettings
from rollgym.yaml_source import KeyPath, YamlError, read_yaml


class Problem(NamedTuple):
    """One mistake in a file."""

    line: int | None
    key: str
    message: str


class ConfigError(Exception):
    """A configuration that can not be used. ``problems`` has one entry for each mistake."""

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
            return Link.both(NetworkConditions(**numbers))
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

    def all_bots(self, spec: GameSpec) -> list[Bot]:
        """One bot per player with nothing left open."""
        given = [*self.bots, *[Bot()] * (spec.players - len(self.bots))]
        return [
            bot.model_copy(
                update={
                    "policy": bot.policy or default_policy(spec.id),
                    "seed": player + 1 if bot.seed is None else bot.seed,
                }
            )
            for player, bot in enumerate(given)
        ]


def default_policy(game_id: str) -> str:
    """A policy that plays the game actively."""
    by_turns = dict.fromkeys(("tictactoe", "connect_four", "hanabi"), "random_legal")
    return {"pong": "tracker", "kitchen": "cook", "overcooked": "chef", **by_turns}.get(game_id, "random_hold")


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
    name = os.fspath(path)
    try:
        source = read_yaml(path)
    except OSError as error:
        raise ConfigError(name, [Problem(None, "", f"can not be read: {error.strerror or error}")]) from error
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
    problems = _check_game(file, source.lines) or _check_bots(file, source.lines)
    if problems:
        raise ConfigError(name, problems)
    return file


def _problem(item: dict[str, Any], lines: dict[KeyPath, int]) -> Problem:
    where: KeyPath = item["loc"]
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None)
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


def _check_game(file: ExperimentFile, lines: dict[KeyPath, int]) -> list[Problem]:
    """Can the game be made: of a game that is not built in, only making it tells."""
    wanted = file.experiment.game
    try:
        wanted.make().close()
    except GameError as error:
        key = "parameters" if error.field == f"{wanted.id} parameters" else "id"
        told = key == "parameters" or error.value == wanted.id
        message = f"{_short(error.value)}: expected {error.expected}" if told else f"{wanted.id!r}: {error}"
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        key, where = "id", traceback.extract_tb(error.__traceback__)[-1]
        # A module that does not even compile has no line that ran; its error says where.
        place = "" if where.filename.startswith("<") else f" in {where.filename}:{where.lineno}"
        message = f"{wanted.id!r}: expected a game that can be made ({type(error).__name__}{place}: {error})"
    else:
        return []
    path: KeyPath = ("experiment", "game", key)
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    return [Problem(line, ".".join(map(str, path)), message)]


def _check_bots(file: ExperimentFile, lines: dict[KeyPath, int]) -> list[Problem]:
    """Can the bots play the game: only the game's own spec knows."""
    game = file.experiment.game.make()
    try:
        spec = game.spec
        if len(file.bots) > spec.players:
            message = f"{len(file.bots)} bots: expected at most {spec.players}, the players of {spec.id}"
            return [Problem(lines.get(("bots",)), "bots", message)]
        problems = []
        known = [policy.name for policy in available_policies()]
        expected = f"one of {', '.join(known)}, or package.module:callable"
        for player, bot in enumerate(file.all_bots(spec)):
            where: KeyPath = ("bots", player)
            if bot.policy not in known and not is_code_name(bot.policy):
                line = lines.get((*where, "policy"))
                problems.append(Problem(line, f"bots.{player}.policy", f"{bot.policy!r}: expected {expected}"))
                continue
            assert bot.policy is not None
            assert bot.seed is not None
            try:
                make_policy(bot.policy, spec, player, bot.seed, **bot.parameters)
            except GameError as error:
                problems.append(Problem(lines.get(where), f"bots.{player}", str(error)))
        return problems
    finally:
        game.close()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
