"""What those who wait are told: how many they are. When that changes, and to each at most once in a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from rollgym.protocol.messages import Waiting

INTERVAL = 1.0
"""Seconds between two notices to one client."""


class Notices:
    """Who was told what, and when. ``tell`` sends a message to a control connection."""

    def __init__(self, tell: Callable[[str, Struct], Awaitable[None]]) -> None:
        self._tell = tell
        self._told: dict[str, tuple[Waiting | None, float]] = {}

    def forget(self, client: str) -> None:
        """The connection is gone."""
        self._told.pop(client, None)

    async def tell_all(self, queue: Sequence[str], needed: int) -> float | None:
        """Tell everybody in the queue who does not know it yet.

        Returns in how many seconds somebody may be told who was told something a moment ago; None if all know.
        """
        notice = Waiting(len(queue), needed)
        now = asyncio.get_running_loop().time()
        again: float | None = None
        for client in self._told.keys() - set(queue):
            self._told[client] = None, self._told[client][1]  # it played meanwhile: if it waits again, it is told again
        for client in queue:
            before, at = self._told.get(client, (None, float("-inf")))
            if before == notice:
                continue
            if now - at < INTERVAL:
                again = at + INTERVAL - now if again is None else min(again, at + INTERVAL - now)
                continue
            self._told[client] = notice, now
            await self._tell(client, notice)
        return again
