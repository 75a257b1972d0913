"""Where a match's players find what they need: what ``match_start`` says of addresses."""

from __future__ import annotations

from rollgym.protocol.messages import MatchStart, TransportOffer
from rollgym.protocol.relay import RELAY
from rollgym.server.storage.rows import MatchRow

RELAY_PATH = "/relay"
UPLOAD_PATH = "/matches/{match}/episodes/{episode}"


class Addresses:
    """Addresses as players are told them: below ``public_url``, or relative to the one by which a client came.

    A server that is reached by several names, or behind a proxy, does not know that one; its clients do.
    """

    def __init__(self, public_url: str | None = None) -> None:
        self._base = "" if public_url is None else public_url.rstrip("/") + "/"

    def match_start(self, row: MatchRow, player: int, ticket: str, resume: str) -> MatchStart:
        """What a player is told. ``ticket`` and ``resume`` are its secrets."""
        return MatchStart(
            match=row.id,
            player=player,
            participants=row.participants,
            seed=row.seed,
            settings=row.settings,
            ticket=ticket,
            transports=(TransportOffer(RELAY, self._of(RELAY_PATH)),),
            upload=self._of(UPLOAD_PATH.replace("{match}", row.id)),
            resume=resume,
        )

    def _of(self, path: str) -> str:
        return self._base + path.removeprefix("/")
