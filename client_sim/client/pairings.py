"""The matches that the server has paired this client for, and what it has said about them, in whatever order."""

from __future__ import annotations

from collections import deque

from rollgym.client_sim.client.control_errors import JoinRefused
from rollgym.client_sim.transport.offers import KNOWN, known_offer
from rollgym.protocol.addresses import resolved
from rollgym.protocol.messages import ANNULLED, ErrorReply, GameIdentity, MatchOver, MatchStart, PeerLeft

MAX_PAIRINGS = 8
"""Pairings received and not yet played. The server sends one at a time; more of them is no server of ours."""


class Pairings:
    """Messages come when they come: a match may be over, or a player gone, before this client has begun to play."""

    def __init__(self) -> None:
        self._waiting: deque[MatchStart] = deque()
        self._known: set[str] = set()
        self._over: dict[str, MatchOver] = {}
        self._left: dict[str, list[int]] = {}

    def add(self, start: MatchStart) -> bool:
        """A new pairing. False: there are too many, and it is ignored."""
        if len(self._waiting) >= MAX_PAIRINGS:
            return False
        self._waiting.append(start)
        self._known.add(start.match)
        return True

    def over(self, message: MatchOver) -> bool:
        """A match is over. False: it is none of ours."""
        if message.match in self._known:
            self._over[message.match] = message
        return message.match in self._known

    def left(self, message: PeerLeft) -> bool:
        """A player has left a match. False: it is none of ours."""
        if message.match in self._known:
            left = self._left.setdefault(message.match, [])
            if message.player not in left:
                left.append(message.player)
        return message.match in self._known

    def next(self) -> MatchStart | None:
        """The next match to play, if there is one. What was annulled meanwhile is none."""
        while self._waiting:
            start = self._waiting.popleft()
            if not self.annulled(start.match):
                return start
            self._forget(start.match)
        return None

    def is_over(self, match: str) -> bool:
        return match in self._over

    def over_because(self, match: str) -> str | None:
        """The reason why a match is over, if it is."""
        return self._over[match].reason if match in self._over else None

    def annulled(self, match: str) -> bool:
        """It was undone before play began."""
        over = self._over.get(match)
        return over is not None and over.reason == ANNULLED

    def who_left(self, match: str) -> list[int]:
        """The players of whom the server has said that they are gone."""
        return list(self._left.get(match, ()))

    def _forget(self, match: str) -> None:
        self._known.discard(match)
        self._over.pop(match, None)
        self._left.pop(match, None)


def check_start(start: MatchStart, game: GameIdentity, server: str) -> None:
    """Raises :class:`JoinRefused` for a pairing that cannot be played. ``server``: the URL by which it was reached."""
    players = len(game.players)
    for name, actual, expected, wrong in (
        ("participants", len(start.participants), players, len(start.participants) != players),
        ("player", start.player, f"0..{players - 1}", start.player >= players),
        ("transports", _offered(start), f"one of {', '.join(KNOWN)}, with an address", not _playable(start, server)),
        ("upload", start.upload, "an address with {episode}", not _is_upload(start.upload, server)),
    ):
        if wrong:
            raise JoinRefused(
                ErrorReply("bad_match_start", f"match_start of the server: {name}", name, expected, actual)
            )


def _offered(start: MatchStart) -> list[str]:
    return [f"{offer.kind} at {offer.address}"[:200] for offer in start.transports]


def _playable(start: MatchStart, server: str) -> bool:
    try:
        return known_offer(start, server) is not None
    except ValueError:
        return False


def _is_upload(address: str, server: str) -> bool:
    try:
        resolved(server, address)
    except ValueError:
        return False
    return "{episode}" in address
