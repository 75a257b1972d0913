"""TCP connections that never ask anything. They are no clients yet, so no other limit counts them, and each takes room.

aiohttp closes a connection that is idle after a request, but waits for the first request for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

_LOOK = 5.0
# Seconds between two looks.

log = structlog.get_logger("rollgym.server.http.silence")


class Silence:
    """Closes connections whose first request is not there after ``seconds``. ``clock`` is monotonic seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._silent: dict[web.RequestHandler, float] = {}  # since when, as of the last look

    def look(self, connections: list[web.RequestHandler]) -> int:
        """Close those that have been silent for too long. Says how many that were."""
        now = self._clock()
        self._silent = {c: self._silent.get(c, now) for c in connections if not c._request_count}
        late = [connection for connection, since in self._silent.items() if now - since >= self._seconds]
        for connection in late:
            connection.force_close()
        if late:
            log.info("silent_connections_closed", connections=len(late))
        return len(late)

    async def watch(self, server: web.Server) -> None:
        """Look now and then, for ever."""
        while True:
            self.look(server.connections)
            await asyncio.sleep(_LOOK)
