"""Players whose control connection broke: their seats are held, and they hear what they missed when they are back.

A match needs the control connection for nothing while it is played. So a broken one is no departure: the seat is held
for as long as the player's packets flow, and then for as long as the players' own settings allow one of them to be
silent. Taking it again needs the seat's token, which
is worth nothing once it was used. Everything is checked before anything is changed.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from rollgym.protocol.messages import BAD_RESUME, Resume
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import ConnectionLost, PlayerBack, SeatReleased
from rollgym.server.events.stream import EventStream
from rollgym.server.play.match import Match, Seat
from rollgym.server.tickets import ticket_hash

UNNOTICED = 3.0
"""Seconds, generously, for which a connection may be dead before that is noticed."""

_TICK = 0.001
# A timer may be early by the clock's resolution.


class SeatResume:
    """The seats of all matches. ``tell`` sends a message to a control connection; ``clock`` is monotonic seconds."""

    def __init__(
        self, *, events: EventStream, tell: Callable[[str, Struct], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        self._events = events
        self._tell = tell
        self._clock = clock
        self._ended: dict[str, Match] = {}

    async def say(self, match: Match, player: int, message: Struct) -> None:
        """Tell a player something about its match: now, or when it comes back."""
        seat = match.seats[player]
        if seat.client is not None or seat.token:
            seat.told.append(message)
            await self._pump(seat)

    async def _pump(self, seat: Seat) -> None:
        """Send what was not sent yet, in order: the player counts what it hears."""
        if seat.telling:
            return
        seat.telling = True
        try:
            while seat.client is not None and seat.sent < len(seat.told):
                seat.sent += 1
                await self._tell(seat.client, seat.told[seat.sent - 1])
        finally:
            seat.telling = False

    def hold(self, match: Match, player: int, reason: str, give_up: Callable[[], None]) -> None:
        """A player's connection broke during play.

        ``give_up`` is called if it is not back, and no packet of its own came on the relay, for that long.
        """
        now, grace = self._clock(), match.row.settings.silence
        seat = match.seats[player]
        seat.lost_at = now
        self._events.publish(ConnectionLost(match=match.row.id, player=player, reason=reason, held_for=grace))

        def look() -> None:
            if seat.lost_at != now or match.ended:
                return
            left = max(now, seat.signs.heard) + grace - self._clock()
            if left > 0:
                asyncio.get_running_loop().call_later(left + _TICK, look)
            else:
                give_up()

        asyncio.get_running_loop().call_later(grace + _TICK, look)

    def let_go(self, match: Match, player: int) -> None:
        """A seat is not held any more: its player is back, has left, or the match is over."""
        seat = match.seats[player]
        if seat.lost_at is not None:
            seat.lost_at = None
            self._events.publish(SeatReleased(match=match.row.id, player=player))

    def remember(self, match: Match) -> None:
        """A match is over. Some may not have heard: they are told when they come back, for a while."""
        for player in range(len(match.seats)):
            self.let_go(match, player)
        if any(seat.token for seat in match.seats):
            self._ended[match.row.id] = match
            keep = match.row.settings.silence + UNNOTICED
            asyncio.get_running_loop().call_later(keep, self._ended.pop, match.row.id, None)

    def seat_of(self, resume: Resume, live: Mapping[str, Match]) -> tuple[Match, int]:
        """Whose seat a token takes again. Changes nothing. Raises :class:`RefusedError`."""
        match = live.get(resume.match) or self._ended.get(resume.match)
        player = None if match is None else _holder(match, resume.token)
        if match is None or player is None:
            # One answer for whatever is wrong: nobody learns which matches there are.
            raise RefusedError(403, BAD_RESUME, "no seat is held for this token", field="token")
        seat = match.seats[player]
        if seat.left_at is not None:
            raise RefusedError(403, "left", "this player has left the match, or was away for too long")
        if resume.heard > len(seat.told):
            message = f"heard {resume.heard}: there were {len(seat.told)} messages"
            raise RefusedError(400, "bad_message", message, field="heard", expected=len(seat.told), actual=resume.heard)
        if resume.new_token == resume.token:
            raise RefusedError(400, "bad_message", "new_token: expected another one than token", field="new_token")
        return match, player

    async def take(self, match: Match, player: int, client: str, resume: Resume) -> None:
        """The player is back, on a new connection. To be called without an await after :meth:`seat_of`."""
        seat = match.seats[player]
        seat.client = seat.member = client
        seat.token = ticket_hash(resume.new_token)
        self.let_go(match, player)
        missed = len(seat.told) - resume.heard
        self._events.publish(PlayerBack(match=match.row.id, player=player, missed=missed))
        seat.sent = resume.heard
        await self._pump(seat)


def _holder(match: Match, token: str) -> int | None:
    hashed = ticket_hash(token)
    for player, seat in enumerate(match.seats):
        if seat.token and hmac.compare_digest(seat.token, hashed):
            return player
    return None
