"""Games that are not built in, by name: a gymnasium id, or ``package.module:callable``.

Making one imports the code that is named. Names come from one's own command line and configuration, never from the
other side of a connection or from a file of somebody else.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import gymnasium

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.families import kind_of
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.adapters.version import ADAPTER_VERSION
from rollgym.games.canonical_bytes import type_name
from rollgym.games.code_names import find_callable, import_from_here, is_code_name, module_of, version_of
from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.protocol.column_names import is_writable

_GYM_ID = re.compile(r"(?:(?P<module>[\w.]+):)?(?:[\w.-]+/)?[\w.:-]+-v\d+")

FORMS = "a gymnasium id such as Foraging-8x8-2p-2f-v3, or package.module:callable"


def is_foreign(name: Any) -> bool:
    """Whether a name has the form of a game that is not built in. Nothing is imported."""
    return isinstance(name, str) and (is_code_name(name) or _GYM_ID.fullmatch(name) is not None)


def check_parameters(name: str, parameters: Mapping[Any, Any]) -> None:
    """Raises :class:`~rollgym.games.errors.GameError` for what no foreign game can take. Imports nothing."""
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise GameError(f"{name} parameter name", key, "a string")
        if not _is_json(value):
            raise GameError(f"{name}.{key}", value, "JSON values: numbers, Unicode texts, lists, mappings")
    AdapterOptions.of(parameters.get("adapter", {}))


def load_game(name: str, parameters: Mapping[str, Any] | None = None) -> Game:
    """A new instance. All parameters but ``adapter`` go to the environment's constructor.

    A callable may return an environment of any of the three families, or a :class:`~rollgym.games.contract.Game`, which
    is taken as it is. Raises :class:`~rollgym.games.errors.GameError` for a name that leads nowhere, an environment
    that cannot be played or parameters it refuses, and :class:`~rollgym.games.errors.Unsafe` for state that cannot be
    copied.
    """
    given = dict(parameters or {})
    check_parameters(name, given)
    options = AdapterOptions.of(given.pop("adapter", {}))
    env, source = _called(name, given) if is_code_name(name) else _registered(name, given)
    if isinstance(env, Game):
        return env
    if kind_of(env) is None:
        what = type_name(type(env))
        raise GameError("game", name, f"something that gives an Env, a ParallelEnv or an AECEnv, not {what}")
    return AdaptedGame(
        env,
        game_id=name,
        version=f"{ADAPTER_VERSION}+{version_of(source)}",
        parameters=dict(parameters or {}),
        options=options,
    )


def _called(name: str, given: dict[str, Any]) -> tuple[Any, str]:
    found = find_callable("game", name)
    try:
        inspect.signature(found).bind(**given)
    except TypeError as error:
        raise GameError(f"{name} parameters", given, f"parameters that the callable takes ({error})") from error
    except ValueError:
        pass  # some callables of C say nothing of what they take
    return found(**given), module_of(name)


def _registered(name: str, given: dict[str, Any]) -> tuple[Any, str]:
    spec = gymnasium.registry.get(name)
    if spec is None:
        _import_registering(name)
        spec = gymnasium.registry.get(name.rpartition(":")[2])
    if spec is None:
        raise GameError("game", name, "a gymnasium id that is registered; as module:Id the module is imported first")
    entry = spec.entry_point
    source = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
    try:
        # The checker would look at every step again, and complain about rewards per agent.
        return gymnasium.make(name.rpartition(":")[2], disable_env_checker=True, **given), source
    except (gymnasium.error.Error, TypeError, ModuleNotFoundError) as error:
        raise GameError("game", name, f"a gymnasium environment that can be made: {error}") from error


_REGISTERS = {"Foraging": "lbforaging", "rware": "rware"}
"""Packages that register their ids when imported and do not name themselves in them."""


def _import_registering(name: str) -> None:
    module = name.partition(":")[0] if ":" in name else _REGISTERS.get(re.split(r"[-/]", name)[0])
    if module is None:
        return
    import_from_here(module)
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise GameError("game", name, f"its package to be installed ({error})") from error


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_writable(key) and _is_json(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, str):
        return is_writable(value)
    return value is None or isinstance(value, bool | int | float)
