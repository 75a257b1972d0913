"""The parameters a game declares, and the check of those it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollgym.games.errors import GameError

ParameterValue = int | str | None


@dataclass(frozen=True)
class Parameter:
    """One parameter: an integer in a range, or one of some names. JSON values only."""

    name: str
    default: ParameterValue
    summary: str
    low: int = 0
    high: int = 2**31 - 1
    choices: tuple[str, ...] = ()
    """Allowed names. Empty: the parameter is an integer ``low..high``."""
    optional: bool = False
    """None is allowed too."""

    @property
    def expected(self) -> str:
        """What is allowed, in words."""
        words = "one of " + ", ".join(self.choices) if self.choices else f"an integer {self.low}..{self.high}"
        return words + " or None" if self.optional else words

    def check(self, owner: str, value: Any) -> ParameterValue:
        """Give the value back if it is allowed. Raises :class:`GameError` otherwise."""
        if value is None and self.optional:
            return None
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
        elif isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        raise GameError(f"{owner}.{self.name}", value, self.expected)


def resolve(owner: str, declared: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a game with defaults filled in, in declared order.

    Raises :class:`GameError` for a name that is not declared and for a value that is not allowed.
    """
    names = [p.name for p in declared]
    for name, value in given.items():
        if name not in names:
            expected = "no parameters" if not names else "a parameter named " + ", ".join(names)
            raise GameError(f"{owner}.{name}", value, expected)
    return {p.name: p.check(owner, given.get(p.name, p.default)) for p in declared}


def checked_integer(field: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """The value, if it is an integer ``low..high``. Raises :class:`~rollgym.games.errors.GameError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise GameError(field, value, f"an integer {low}..{high}")
    return int(value)
