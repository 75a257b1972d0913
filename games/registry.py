"""Games by name. Adapters are imported only when their game is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from games.contract import Game
from games.errors import GameError
from games.parameters import Parameter


class Available(NamedTuple):
    """One line of the list of games."""

    id: str
    summary: str
    extra: str | None
    """The optional dependency group that brings it, or None if it is always there."""
    installed: bool


class _Entry(NamedTuple):
    module: str
    factory: str
    summary: str
    extra: str | None = None
    needs: str | None = None
    """The distribution's top-level module that the extra brings."""


_GAMES = {
    "drift": _Entry("games.drift", "Drift", "two drifting bodies with published checksums: the reference game"),
    "pong": _Entry("games.pong", "Pong", "two paddles and a ball, first to N points"),
    "kitchen": _Entry("games.kitchen", "Kitchen", "two or three cooks make onion soup together, room for an NPC"),
    "overcooked": _Entry(
        "games.overcooked", "Overcooked", "two cooks share a kitchen (cogrid)", extra="overcooked", needs="cogrid"
    ),
}


def available() -> list[Available]:
    """All games, whether or not what they need is installed."""
    return [Available(i, e.summary, e.extra, _installed(e)) for i, e in _GAMES.items()]


def declared(game_id: str) -> tuple[Parameter, ...]:
    """The parameters a game takes. Raises :class:`~games.errors.GameError` if it is unknown or not installed."""
    parameters: tuple[Parameter, ...] = import_module(_entry(game_id).module).PARAMETERS
    return parameters


def make(game_id: str, parameters: Mapping[Any, Any] | None = None) -> Game:
    """A new instance of a game.

    Raises :class:`~games.errors.GameError` for an unknown game, one whose extra is not installed, and for an
    unknown or ill-typed parameter.
    """
    module = import_module(_entry(game_id).module)
    given = dict(parameters or {})
    for name in given:
        # `**` would refuse this with a text that does not say where the name came from.
        if not isinstance(name, str):
            raise GameError(f"{game_id} parameter name", name, "a string")
    game: Game = getattr(module, _GAMES[game_id].factory)(**given)
    return game


def _entry(game_id: Any) -> _Entry:
    entry = _GAMES.get(game_id) if isinstance(game_id, str) else None
    if entry is None:
        raise GameError("game", game_id, "one of " + ", ".join(_GAMES))
    if not _installed(entry):
        raise GameError("game", game_id, f"its extra to be installed: pip install rollgym[{entry.extra}]")
    return entry


def _installed(entry: _Entry) -> bool:
    return entry.needs is None or find_spec(entry.needs) is not None
