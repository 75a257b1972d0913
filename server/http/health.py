"""Whether the server can do its work, and what it says of its record. Nothing here writes anything."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from rollgym.processes.workers import Workers
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.errors import CatalogueError, Stopped

SHOWN = 100
"""Rows of each kind in ``/status``."""


class Parts(NamedTuple):
    """What a server cannot do without."""

    store: EpisodeStore
    catalogue: Catalogue
    checks: Workers
    judges: Workers
    free_bytes: int

    def lasting(self) -> dict[str, str]:
        """What is wrong and stays wrong until somebody does something about it, by part. Asks nothing of the disk."""
        found = {
            "catalogue": None if self.catalogue.alive else "its thread has ended: restart the server",
            "checks": self.checks.health(),
            "judges": self.judges.health(),
        }
        return {part: reason for part, reason in found.items() if reason is not None}

    async def present(self) -> dict[str, str]:
        """What keeps an episode from being recorded at this moment, by part; what is lasting included."""
        found = {
            "data": await asyncio.to_thread(self.store.health, self.free_bytes),
            "catalogue": await self.catalogue.health(),
        }
        return {**{part: reason for part, reason in found.items() if reason is not None}, **self.lasting()}


async def record_status(catalogue: Catalogue) -> dict[str, Any]:
    """What ``GET /status`` says of the record. A catalogue that refuses is a part of the answer, and no failure."""
    try:
        unjudged = await catalogue.unjudged()
        refused = await catalogue.refusals()
        return {
            "catalogue": "ok",
            "verdicts": await catalogue.counts(),
            "unjudged": [
                {"match": row.match, "episode": row.episode, "kind": row.kind, "reason": row.reason}
                for row in unjudged[:SHOWN]
            ],
            "refused": [
                {"match": r.match, "episode": r.episode, "player": r.player, "code": r.code, "reason": r.reason}
                for r in refused[:SHOWN]
            ],
        }
    except (CatalogueError, Stopped) as error:
        return {"catalogue": str(error) or "closed", "verdicts": {}, "unjudged": [], "refused": []}
