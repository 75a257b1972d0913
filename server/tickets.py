"""Tickets: 32 random bytes that open the relay and authorise uploads. The server keeps only their hash."""

from __future__ import annotations

import hashlib
import secrets

from aiohttp import web

from rollgym.protocol.relay import SUBPROTOCOL, TICKET_PROTOCOL
from rollgym.server.errors import RefusedError

_SCHEME = "bearer "


def new_ticket() -> str:
    """A fresh secret: 43 characters, safe in URLs and headers."""
    return secrets.token_urlsafe(32)


def ticket_hash(ticket: str) -> bytes:
    """What is stored. A plain hash is enough for a secret of 256 random bits."""
    return hashlib.sha256(ticket.encode()).digest()


def presented(request: web.Request) -> bytes:
    """The hash of the ticket that a request carries. Raises :class:`RefusedError` (401) if it carries none."""
    header = request.headers.get("Authorization", "")
    ticket = header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else _offered(request)
    if not 0 < len(ticket) <= 128 or not ticket.isascii():
        raise RefusedError(401, "no_ticket", "expected a header Authorization: Bearer <ticket>", field="Authorization")
    return ticket_hash(ticket)


def _offered(request: web.Request) -> str:
    """The ticket among the WebSocket subprotocols that are offered: a browser's page can set no header."""
    offered = [protocol.strip() for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if SUBPROTOCOL not in offered:
        return ""
    tickets = [protocol[len(TICKET_PROTOCOL) :] for protocol in offered if protocol.startswith(TICKET_PROTOCOL)]
    return tickets[0] if len(tickets) == 1 else ""
