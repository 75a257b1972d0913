"""What a game refuses, and why."""

from __future__ import annotations

from typing import Any


class GameError(ValueError):
    """A game, a parameter or a value of one that cannot be used.

    The text is put together from the three parts, which are kept for whoever wants to show them otherwise.
    """

    def __init__(self, field: str, value: Any, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field} = {value!r}: expected {expected}")

    def __reduce__(self) -> tuple[type[GameError], tuple[str, Any, str]]:
        return type(self), (self.field, self.value, self.expected)


class Unsafe(GameError):
    """An environment that cannot be rolled back safely: ``field`` is the path of the part that is to blame."""

    def __init__(self, field: str, value: Any, expected: str) -> None:
        super().__init__(field, value, expected)
        self.args = (f"{field} is {value}; needed is {expected}",)
