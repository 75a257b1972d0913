"""Bots that are code of one's own: ``package.module:callable``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from rollgym.games.code_names import find_callable
from rollgym.games.contract import Observation
from rollgym.games.errors import GameError
from rollgym.games.policy import PolicySeat

MAKER = ("spec", "player", "seed")
"""The names that the first parameters of a maker have."""


class CallablePolicy:
    """Asks ``decide(observation)`` for every action. Its ``reset(seed)``, if it has one, is told of new episodes."""

    def __init__(self, decide: Callable[[Observation], Any], reset: Callable[[int], Any] | None) -> None:
        self._decide = decide
        self._reset = reset

    def reset(self, seed: int) -> None:
        if self._reset is not None:
            self._reset(seed)

    def act(self, observation: Observation, frame: int) -> Any:
        return self._decide(observation)


def policy_from(name: str, seat: PolicySeat, player: int, parameters: dict[str, Any]) -> Any:
    """The policy that a name stands for. Its module is imported.

    If the parameters of what is named begin with ``spec, player, seed`` it is a maker: it is called with these, and
    returns ``observation -> action`` or a :class:`~rollgym.games.policy.Policy`. Otherwise it is
    ``observation -> action`` itself. ``parameters`` are keyword arguments of either. Raises
    :class:`~rollgym.games.errors.GameError` for what is neither.
    """
    found = find_callable("policy", name)
    if _is_maker(found):
        given: tuple[Any, ...] = (seat.spec, player, seat.seed)
        _check_call(name, found, given, parameters)
        return _as_policy(name, found(*given, **parameters))
    if isinstance(found, type):
        raise GameError("policy", name, f"a class whose parameters begin with {', '.join(MAKER)}, or a function")
    _check_call(name, found, (None,), parameters)
    return CallablePolicy(partial(found, **parameters) if parameters else found, _reset_of(found))


def _is_maker(found: Callable[..., Any]) -> bool:
    return tuple(_parameters(found))[: len(MAKER)] == MAKER


def _parameters(found: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(found).parameters)
    except ValueError:  # some functions written in C do not tell
        return []


def _check_call(name: str, found: Callable[..., Any], given: tuple[Any, ...], parameters: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(found)
    except ValueError:
        return
    try:
        signature.bind(*given, **parameters)
    except TypeError as error:
        takes = ", ".join(MAKER) if len(given) > 1 else "one observation"
        told = f" and the parameters {', '.join(parameters)}" if parameters else ""
        raise GameError("policy", name, f"a callable that takes {takes}{told} ({error})") from error


def _as_policy(name: str, made: Any) -> Any:
    if callable(getattr(made, "act", None)) and callable(getattr(made, "reset", None)):
        return made
    if not callable(made):
        raise GameError("policy", name, f"a callable or a policy to be returned, not {type(made).__name__}")
    return CallablePolicy(made, _reset_of(made))


def _reset_of(found: Any) -> Callable[[int], Any] | None:
    reset = getattr(found, "reset", None)
    return reset if callable(reset) else None
