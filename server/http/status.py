"""What ``GET /status`` shows. No tickets, no addresses."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.http.health import record_status
from rollgym.server.http.server import Server
from rollgym.server.lobby.desk import Desk
from rollgym.server.play.match import Match

SHOWN = 100
"""Matches, and rows of each other kind."""


async def status(server: Server) -> dict[str, Any]:
    """The state of a running server, as plain values."""
    now = asyncio.get_running_loop().time()
    clock = time.time() - now
    matches = server.matches
    first, *others = [_experiment(desk) for desk in server.matchmaker.desks]
    return {
        "protocol": PROTOCOL_VERSION,
        "server": server.instance,
        **first,
        **({"experiments": [first, *others]} if others else {}),
        "uptime": round(time.time() - server.started_at, 3),
        "stopping": server.stopping,
        "waiting": server.matchmaker.waiting,
        "matches": [_match(match, now, clock) for match in matches.live[:SHOWN]],
        **await record_status(server.catalogue),
        "unrecorded": [
            {"match": match, "reason": reason} for match, reason in list(matches.unrecorded.items())[:SHOWN]
        ],
        "orphans": [{"kind": o.kind, "place": o.place, "detail": o.detail} for o in server.orphans[:SHOWN]],
        "data": server.store.place,
        "free_bytes": await asyncio.to_thread(server.store.free_bytes),
    }


def _experiment(desk: Desk) -> dict[str, Any]:
    experiment = desk.experiment
    game, settings = experiment.game, experiment.settings
    return {
        "experiment": settings.name,
        "condition": settings.condition,
        "config_hash": settings.digest(),
        "game": {"id": game.id, "version": game.version, "parameters": game.parameters},
        "waiting": desk.lobby.waiting,
        "matches_wanted": settings.matches,
        "matches_begun": experiment.series.begun,
        "matches_over": experiment.series.over,
    }


def _match(match: Match, now: float, clock: float) -> dict[str, Any]:
    return {
        "match": match.row.id,
        "experiment": match.row.experiment,
        "condition": match.row.condition,
        "phase": match.phase.value,
        "participants": match.row.participants,
        "players": [seat.state for seat in match.seats],
        "waits_for": [
            {"what": awaited.what, "player": awaited.player, "since": round(clock + awaited.since, 3)}
            for awaited in match.awaits(now)
        ],
        "episodes": match.row.settings.episodes,
        "uploads": sum(len(players) for players in match.uploads.values()),
        "verdicts": {str(n): verdict.verdict for n, verdict in sorted(match.verdicts.items())},
    }
