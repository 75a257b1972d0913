"""Games by name. Adapters are imported only when their game is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from rollgym.games.builtin.catalogue import BUILT_IN, BuiltIn
from rollgym.games.code_names import find_callable, module_of
from rollgym.games.contract import Game
from rollgym.games.env_catalogue.catalogue import SHELF, Shelved, make_shelved
from rollgym.games.errors import GameError
from rollgym.games.loading import FORMS, is_foreign, load_game
from rollgym.games.loading import check_parameters as check_foreign
from rollgym.games.npcs.npc import NPCS, with_npcs
from rollgym.games.parameters import Parameter, resolve
from rollgym.games.recordable import check_recordable

ANY_GAME = "random_hold"
"""The policy that plays whatever there is, if nobody names one and the game's entry does not."""


class Available(NamedTuple):
    """One line of the list of games."""

    id: str
    summary: str
    extra: str | None
    """The optional dependency group that brings it, or None if it is always there."""
    installed: bool


def available() -> list[Available]:
    """All games that have a name here, whether or not what they need is installed."""
    own = [Available(i, e.summary, e.extra, _installed(e)) for i, e in BUILT_IN.items()]
    return own + [Available(i, e.summary, e.extra, e.installed) for i, e in SHELF.items()]


def default_policy(game_id: str) -> str:
    """The policy that plays a game actively, if nobody names one."""
    entry = BUILT_IN.get(game_id) or SHELF.get(game_id)
    return (entry and entry.policy) or ANY_GAME


def declared(game_id: str) -> tuple[Parameter, ...]:
    """The parameters a game takes. Raises :class:`~rollgym.games.errors.GameError` if it is unknown or not installed.

    Those of games named ``package.module:callable`` or by a gymnasium id are not known: use
    :func:`check_parameters`.
    """
    if game_id in SHELF:
        return _shelved(game_id).parameters
    parameters: tuple[Parameter, ...] = import_module(module_of(_entry(game_id).place)).PARAMETERS
    return parameters


def check_parameters(game_id: str, parameters: Mapping[Any, Any]) -> None:
    """Raises :class:`~rollgym.games.errors.GameError` for parameters that the game cannot take, without making it.

    Nothing of anybody else is imported: whether an environment that is not ours takes them is seen when it is made.
    """
    if (not is_built_in(game_id) and is_foreign(game_id)) or (game_id in BUILT_IN and not is_plain(game_id)):
        check_foreign(game_id, parameters)
    else:
        resolve(game_id, declared(game_id), parameters)


def make(game_id: str, parameters: Mapping[Any, Any] | None = None, *, foreign: bool = True) -> Game:
    """A new instance of a game. Every game takes the parameter ``npcs``: the agents that are driven from within
    (:func:`rollgym.games.npcs.npc.with_npcs`).

    ``game_id`` is a name of :func:`available`, a gymnasium id, or ``package.module:callable``; for the latter two the
    code it names is imported, unless ``foreign`` is false, which is for names that somebody else has written.
    Raises :class:`~rollgym.games.errors.GameError` for an unknown game, one whose extra is not installed, and for an
    unknown or ill-typed parameter, and for names and spaces that no record can hold.
    """
    given = dict(parameters or {})
    npcs = given.pop(NPCS, {})
    game = _made(game_id, given, foreign)
    try:
        check_recordable(game.spec)
        return with_npcs(game, npcs)
    except GameError:
        game.close()
        raise


def _made(game_id: Any, given: dict[Any, Any], foreign: bool) -> Game:
    if not is_built_in(game_id) and is_foreign(game_id):
        if not foreign:
            raise GameError("game", game_id, "a built-in game: code that is named here is not imported")
        return load_game(game_id, given)
    if isinstance(game_id, str) and game_id in SHELF:
        _shelved(game_id)
        return make_shelved(game_id, given)
    factory = find_callable("game", _entry(game_id).place)
    for name in given:
        # `**` would refuse this with a text that does not say where the name came from.
        if not isinstance(name, str):
            raise GameError(f"{game_id} parameter name", name, "a string")
    game: Game = factory(**given)
    return game


def _entry(game_id: Any) -> BuiltIn:
    entry = BUILT_IN.get(game_id) if isinstance(game_id, str) else None
    if entry is None:
        names = ", ".join((*BUILT_IN, *SHELF))
        raise GameError("game", game_id, f"one of {names}, or {FORMS}")
    if not _installed(entry):
        raise GameError("game", game_id, f"its extra to be installed: pip install rollgym[{entry.extra}]")
    return entry


def is_built_in(game_id: Any) -> bool:
    """Whether a name is one of :func:`available`."""
    return isinstance(game_id, str) and (game_id in BUILT_IN or game_id in SHELF)


def is_plain(game_id: Any) -> bool:
    """Whether making the game runs code of this package only, and none that anybody else has written."""
    return isinstance(game_id, str) and game_id in BUILT_IN and BUILT_IN[game_id].needs is None


def _shelved(game_id: str) -> Shelved:
    entry = SHELF[game_id]
    if not entry.installed:
        raise GameError("game", game_id, f"its extra to be installed: pip install rollgym[{entry.extra}]")
    return entry


def _installed(entry: BuiltIn) -> bool:
    return entry.needs is None or find_spec(entry.needs) is not None
