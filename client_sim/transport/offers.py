"""The transports that a server offers for a match, and the first of them that this client knows.

A transport is a file in this folder with a class that has the methods of
:class:`~rollgym.client_sim.transport.interface.Transport`, and a line in :data:`KNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable

from rollgym.client_sim.transport.interface import Transport
from rollgym.client_sim.transport.relay import RelayTransport
from rollgym.protocol.addresses import resolved
from rollgym.protocol.messages import MatchStart
from rollgym.protocol.relay import RELAY


def _relay(start: MatchStart, url: str) -> Transport:
    return RelayTransport(url, start.ticket, reconnect_within=min(5.0, start.settings.disconnect_timeout))


KNOWN: dict[str, Callable[[MatchStart, str], Transport]] = {RELAY: _relay}
"""By kind: makes the transport of a match at an address. Nothing is opened yet."""


def known_offer(start: MatchStart, server: str) -> tuple[str, str] | None:
    """Kind and address of the first offer that this client knows; None if it knows none.

    ``server``: the URL by which the client has reached it. Raises ``ValueError`` for an address that is none.
    """
    for offer in start.transports:
        if offer.kind in KNOWN:
            return offer.kind, resolved(server, offer.address)
    return None


def transport_of(start: MatchStart, server: str) -> Transport:
    """The transport of a match whose offers were looked at before. Raises ``LookupError`` if none is known."""
    found = known_offer(start, server)
    if found is None:
        raise LookupError("no transport that this client knows")
    kind, address = found
    return KNOWN[kind](start, address)
