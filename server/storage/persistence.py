"""What must not be lost because the disk, or another program with the catalogue open, refused for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from rollgym.server.storage.errors import CatalogueError

T = TypeVar("T")

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between the attempts. With what a catalogue waits for a lock by itself, half a minute at the very most:
clients wait for the word on their match for a minute."""

log = structlog.get_logger("rollgym.server.storage.persistence")


async def insist(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """``work()``, tried again with growing pauses while the catalogue or the disk refuses.

    Raises what the last attempt raised (:class:`CatalogueError`, ``OSError``), at once if another could not go
    better, and :class:`~rollgym.server.storage.errors.Stopped`. Doing it twice must be like doing it once.
    """
    for pause in PAUSES:
        try:
            return await work()
        except (CatalogueError, OSError) as error:
            if isinstance(error, CatalogueError) and error.final:
                raise
            log.warning("refused", what=what, error=str(error), again_in=pause)
        await asyncio.sleep(pause)
    return await work()
