"""Prediction rules by name, those of the user's own among them, and a check of what these predict."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from rollgym.client_sim.rollback.input_book import MAX_SOUND
from rollgym.client_sim.rollback.interfaces import ActionCheck
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT, PREDICTORS
from rollgym.client_sim.rollback.prediction.rule import InputHistory, Predictor
from rollgym.games.code_names import find_callable, is_code_name, module_of, version_of
from rollgym.games.errors import GameError

FIELD = "prediction"
"""What errors call the name of a rule."""


class BadPrediction(Exception):
    """A prediction rule gave something that the player cannot do. The text says which rule, and what."""


def check_name(name: str) -> None:
    """Whether there may be such a rule; nothing is imported. Raises :class:`~rollgym.games.errors.GameError`."""
    if name not in PREDICTORS and not is_code_name(name):
        raise GameError(FIELD, name, f"one of {', '.join(PREDICTORS)}, or package.module:callable")


def is_named(rule: Predictor) -> bool:
    """Whether a rule is one of ``PREDICTORS``."""
    return any(rule is known for known in PREDICTORS.values())


def find_rule(name: str) -> Predictor:
    """The rule that a name stands for: one of ``PREDICTORS``, or ``package.module:callable``, which is imported.

    Never pass on such a name from somebody else. Raises :class:`~rollgym.games.errors.GameError` for a name that leads
    nowhere, or to something that does not take a history and a frame; errors of the module's own code pass through.
    """
    check_name(name)
    known = PREDICTORS.get(name)
    if known is not None:
        return known
    found = find_callable(FIELD, name)
    if isinstance(found, type):
        raise GameError(FIELD, name, "a function, or an object that can be called, not a class")
    try:
        inspect.signature(found).bind(None, 0)
    except TypeError as error:
        raise GameError(FIELD, name, f"a callable that takes a player's history and a frame ({error})") from error
    except ValueError:
        pass  # some functions written in C do not tell
    return found


def rule_origin(name: str) -> dict[str, Any]:
    """What a record says of a rule that is not the default: its name, and for one of the user's own its version."""
    if name == DEFAULT:
        return {}
    origin = {"source": version_of(module_of(name))} if is_code_name(name) else {}
    return {FIELD: {"name": name, **origin}}


def checked(rule: Predictor, actions: Sequence[ActionCheck]) -> Predictor:
    """A rule that raises :class:`BadPrediction` where ``rule`` gives what is no action of the player's.

    ``actions``: one check per player. The named rules give only inputs that were checked before, and stay as they are.
    """
    if is_named(rule):
        return rule
    sound: list[set[bytes]] = [set() for _ in actions]

    def predict(history: InputHistory, frame: int) -> bytes:
        value = rule(history, frame)
        known = sound[history.player]
        if type(value) is not bytes or value not in known:
            _check(rule, history, frame, value, actions[history.player])
            if len(known) >= MAX_SOUND:
                known.clear()
            known.add(value)
        return value

    return predict


def _check(rule: Predictor, history: InputHistory, frame: int, value: object, check: ActionCheck) -> None:
    width = len(history.default)
    if type(value) is not bytes or len(value) != width:
        reason = f"expected {width} bytes"
    else:
        found = check(value)
        if found is None:
            return
        reason = found
    name = f"{getattr(rule, '__module__', '?')}:{getattr(rule, '__qualname__', type(rule).__qualname__)}"
    raise BadPrediction(f"{name} predicts {value!r} for player {history.player} at frame {frame}: {reason}")
