"""Players who play no more: they said so, broke off, were late or stuck. And matches that are undone by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from rollgym.protocol.messages import ANNULLED, MatchOver, PeerLeft
from rollgym.server.events.kinds import MatchAnnulled, PlayerLeft
from rollgym.server.play.hall import Hall
from rollgym.server.play.match import MARGIN, Match, Phase

STUCK = "stuck"
"""Reason of a departure: the player was connected and brought nothing on, or nobody got any further."""

GOODBYE = "client disconnect"
"""Socket.IO's reason for a connection that its client has ended, and not an accident."""


class Departures:
    """Of all matches. ``settle`` looks whether a match can be judged or ended now."""

    def __init__(self, hall: Hall, settle: Callable[[Match], None]) -> None:
        self._hall = hall
        self._settle = settle

    def watch(self, match: Match) -> None:
        """A match has begun: see to it that nobody holds it up for ever."""
        wait = match.row.settings.start_timeout + MARGIN
        asyncio.get_running_loop().call_later(wait, self.start_is_due, match)
        self._look_later(match)

    # --- late or stuck ------------------------------------------------------------------------------------------

    def start_is_due(self, match: Match) -> None:
        """Everybody should have opened the relay by now."""
        if self._hall.goes_on(match) and match.phase is Phase.PAIRED:
            self._hall.background.start(self._remove_late(match))

    async def _remove_late(self, match: Match) -> None:
        """Whoever has not opened the relay by now loses its seat; the others wait for a better partner."""
        late = [player for player, seat in enumerate(match.seats) if not seat.relayed and not seat.done]
        for player in late:
            match.leave(player, self._hall.clock())
            self._hall.seat_resume.let_go(match, player)
            await self._dismiss(match, player, "the relay was not opened in time")
        if not await self._annul(match):
            for player in late:
                await self._go_on_without(match, player, "did not open the relay")

    def _look_later(self, match: Match) -> None:
        """Look again when somebody may have brought nothing on for too long."""
        now = self._hall.clock()
        asyncio.get_running_loop().call_later(match.look_at(now) - now + 0.001, self.look, match)

    def look(self, match: Match) -> None:
        """Who is stuck has to go."""
        if not self._hall.goes_on(match):
            return
        for player in match.stuck(self._hall.clock()):
            self._hall.background.start(self._remove_stuck(match, player))
        self._look_later(match)

    async def _remove_stuck(self, match: Match, player: int) -> None:
        if match.ended or match.seats[player].done:
            return
        await self._dismiss(match, player, STUCK)
        await self.leave(match, player, STUCK)

    async def _dismiss(self, match: Match, player: int, reason: str) -> None:
        """Tell a player that it is out. It hears nothing of the match any more, and may join for another."""
        self._hall.release(match, player)
        seat = match.seats[player]
        client, seat.client = seat.client, None
        if client is not None:
            self._hall.table.stand_up(match, client)
            await self._hall.tell(client, MatchOver(match.row.id, f"removed: {reason}"))

    # --- gone ---------------------------------------------------------------------------------------------------

    async def connection_ended(self, client: str, reason: str) -> None:
        """A client's control connection ended: by its will, or by an accident, and then it may come back."""
        for match, player in self._hall.table.lost(client):
            if reason == GOODBYE or match.phase is Phase.PAIRED:
                await self.leave(match, player, reason)
            elif not match.seats[player].done:
                self._hall.seat_resume.hold(match, player, reason, partial(self._not_back, match, player, reason))

    def _not_back(self, match: Match, player: int, reason: str) -> None:
        if not self._hall.stopping:
            self._hall.background.start(self.leave(match, player, reason))

    async def leave(self, match: Match, player: int, reason: str) -> None:
        """A player plays no more. Twice is once, and so is leaving after having finished."""
        paired = match.phase is Phase.PAIRED
        if not match.leave(player, self._hall.clock()):
            return
        self._hall.seat_resume.let_go(match, player)
        await self._hall.relay.close_player(match.row.id, player)
        if not paired or not await self._annul(match):
            await self._go_on_without(match, player, reason)

    async def _go_on_without(self, match: Match, player: int, reason: str) -> None:
        hall, row = self._hall, match.row
        hall.events.publish(PlayerLeft(match=row.id, player=player, reason=reason))
        for other, seat in enumerate(match.seats):
            if other != player and seat.left_at is None:
                await hall.seat_resume.say(match, other, PeerLeft(row.id, player, reason[:1024]))
        left = partial(hall.catalogue.player_left, row.id, player, time.time(), reason[:1024])
        hall.background.start(hall.background.write("player_left", row.id, left))
        self._settle(match)

    # --- undone -------------------------------------------------------------------------------------------------

    async def _annul(self, match: Match) -> bool:
        """A player was lost before everyone had opened the relay: as if they had never been paired.

        False for a match that has to go on to its end, because an upload of it was acknowledged.
        """
        if match.annulled:
            return True
        if match.uploads or match.ended:
            return False
        hall = self._hall
        match.annulled = True
        hall.forget(match)
        if match.experiment is not None:
            match.experiment.series.begun -= 1
        hall.events.publish(MatchAnnulled(match=match.row.id))
        assert match.group is not None
        remaining = [player for player, seat in enumerate(match.seats) if not seat.done]
        for seat in match.seats:
            if seat.client is not None and seat.done:
                hall.released(seat.client, match.group)
        for player in remaining:
            await hall.seat_resume.say(match, player, MatchOver(match.row.id, ANNULLED))
        hall.annulled(match.group)
        hall.background.start(self._catalogue_annulled(match))
        return True

    async def _catalogue_annulled(self, match: Match) -> None:
        undone = False

        async def annul() -> None:
            nonlocal undone
            undone = await self._hall.catalogue.annul_match(match.row.id, time.time(), ANNULLED)

        written = await self._hall.background.write("annul_match", match.row.id, annul)
        if written and undone and match.experiment is not None:
            match.experiment.undo(match.row)  # and not before: a kill in between would leave two matches of one number
