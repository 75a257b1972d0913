"""Pauses between attempts to reach a server that is away."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from ``first`` to ``most`` seconds.

    Each is shortened at random by up to a half, so that the clients of a server that was away do not all come back at
    once.
    """

    def __init__(self, first: float, most: float, rng: random.Random | None = None) -> None:
        self.attempts = 0
        """Pauses since the beginning, or since :meth:`reset`."""
        self._first = first
        self._most = most
        self._full = first
        self._rng = rng or random.Random()  # noqa: S311 - spreads attempts, no secret

    def next(self) -> float:
        """Seconds to pause before the next attempt."""
        pause = self._full * self._rng.uniform(0.5, 1.0)
        self._full = min(self._most, 2 * self._full)
        self.attempts += 1
        return pause

    def next_within(self, seconds: float) -> float | None:
        """The same; None if ``seconds`` are less than that, and the next attempt would come too late."""
        pause = self.next()
        return pause if pause <= seconds else None

    def reset(self) -> None:
        """The server is back: begin anew."""
        self.attempts = 0
        self._full = self._first
