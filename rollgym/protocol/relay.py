"""What the relay and its clients say to each other around packets: addresses and close codes (``docs/protocol.md``)."""

from __future__ import annotations

RELAY = "relay"
"""Kind of a transport offer (:class:`rollgym.protocol.messages.TransportOffer`): the relay of a server."""

SUBPROTOCOL = "rollgym.relay"
"""WebSocket subprotocol of the relay, for clients that can set no headers. The server chooses this one."""

TICKET_PROTOCOL = "rollgym.ticket."
"""Beginning of a second subprotocol that such a client offers: the rest is its ticket."""

EVERYONE = 0xFF
"""Destination of a packet: all other players of the match."""

REPLACED = 4001
"""Close code: a newer connection of the same player took over."""

MATCH_OVER = 4002
"""Close code: the match is over, or was never begun."""

LEFT = 4003
"""Close code: the player has left the match, or was silent for so long that it counts as gone."""

LEFT_STATUS = 403
"""HTTP status of a handshake by such a player."""

FINAL_CODES = range(4000, 4100)
"""Close codes after which there is nothing to come back to. Those above are among them."""
