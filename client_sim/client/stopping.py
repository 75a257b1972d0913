"""Being told to stop: from outside (Ctrl-C, a caller) or because a caller's callback has failed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

STOP_WITHIN = 1.0
"""Seconds from being told to stop in which a client waits for others: uploads' last chance, and goodbyes. What is
recorded goes to the disk whatever time that takes."""


class Stopping:
    """Whether a client was told to stop, and how much time it has left then."""

    def __init__(self, asked: asyncio.Event) -> None:
        self._asked = asked
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._at: float | None = None

    @property
    def asked(self) -> bool:
        """Somebody asked this client to stop."""
        return self._asked.is_set()

    def fail(self, error: BaseException) -> None:
        """Stop because of an error, which :meth:`raise_failure` raises at the end."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def raise_failure(self) -> None:
        """Raises what :meth:`fail` was told first, if anything. The end."""
        if self._failed.done():
            raise self._failed.exception() or AssertionError("failed without a reason")
        self._failed.cancel()

    async def wait(self) -> None:
        """Until it is time to stop."""
        stopped = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
            self._at = self._at or time.monotonic()
        finally:
            stopped.cancel()

    def time_left(self) -> float:
        """Seconds of :data:`STOP_WITHIN` that are left; infinity if nobody asked us to stop."""
        return math.inf if self._at is None else self._at + STOP_WITHIN - time.monotonic()

    def at_most(self, seconds: float) -> float:
        """``seconds``, or what is left of the time if that is less."""
        return max(0.05, min(seconds, self.time_left()))

    async def unless(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of ``work``, or None if the stop came first."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)
