"""How long the calls of a game take by the real clock, whatever the game is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rollgym.checking.surroundings import REAL


class Stopwatch:
    """Seconds of the first call and of the longest later one, by name."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.later: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time one call."""
        clock = REAL["perf_counter"]
        began = clock()
        yield
        self.add(name, clock() - began)

    def add(self, name: str, seconds: float) -> None:
        """A call that took so long."""
        if name in self.first:
            self.later[name] = max(self.later.get(name, 0.0), seconds)
        else:
            self.first[name] = seconds
