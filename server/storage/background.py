"""Work that nobody waits for: it is kept, its failures are logged, and it is brought to an end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from rollgym.server.storage.errors import CatalogueError, Stopped
from rollgym.server.storage.persistence import insist

log = structlog.get_logger("rollgym.server.storage.background")


class Background:
    """Tasks that run beside each other, and what they put into the catalogue. Owned by the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[object]] = set()
        self.unrecorded: dict[str, str] = {}
        """Matches of this run of which the catalogue would not take something, and what."""

    def start(self, work: Awaitable[object]) -> None:
        """Let it run."""
        task: asyncio.Future[object] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Future[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("match_task_failed", exc_info=task.exception())

    async def write(self, what: str, match: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Put something into the catalogue, if need be with several attempts. False if it refused: that is said."""
        try:
            await insist(what, work)
        except (CatalogueError, Stopped) as error:
            reason = str(error) or "the catalogue is closed"
            log.error("not_recorded", what=what, match=match, error=reason)
            self.unrecorded[match] = f"{what}: {reason}"
            return False
        self.unrecorded.pop(match, None)
        return True

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end, for at most ``seconds``; then stop it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
