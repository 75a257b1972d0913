"""How many files and sockets the system lets this process have open, and how many clients that is."""

from __future__ import annotations

import sys

import structlog

from rollgym.server.errors import ServerError
from rollgym.server.settings import ServerSettings

OWN = 40
"""Descriptors of the server itself: catalogue, lock, sockets that listen, what libraries hold."""

PER_WORKER = 8
"""Of each worker process, of two kinds: its channel, its output, and one more while it is replaced."""

PER_CLIENT = 3
"""Control connection, relay, and an upload now and then."""

log = structlog.get_logger("rollgym.server.http.descriptors")


def connections_that_fit(settings: ServerSettings, players: int) -> int:
    """As many control connections as are configured and there are descriptors for, after asking the system for more.

    Raises :class:`ServerError` if there are too few for one match of ``players``.
    """
    wanted = settings.limits.connections
    own = OWN + 2 * PER_WORKER * settings.workers
    allowed = _allow(own + PER_CLIENT * wanted)
    connections = min(wanted, (allowed - own) // PER_CLIENT)
    if connections < players:
        raise ServerError(
            f"{allowed} open files allowed: expected at least {own + PER_CLIENT * players}, for one match "
            "(ulimit -n, or LimitNOFILE of a service)"
        )
    if connections < wanted:
        log.warning("few_descriptors", allowed=allowed, connections=connections, configured=wanted)
    return connections


def _allow(needed: int) -> int:
    """How many descriptors this process may have, after raising its limit as far as the system lets it."""
    if sys.platform == "win32":
        return needed
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
