"""The matches of this server: opened by the lobby, moved on by clients and uploads, ended by the last verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct

from rollgym.protocol.messages import ANNULLED, COMPLETE, GameIdentity, MatchOver, PeerLeft, PlaySettings, Resume
from rollgym.protocol.packets import Reached
from rollgym.server.events.kinds import (
    MatchAnnulled,
    MatchEnded,
    MatchStarted,
    MatchTakenUp,
    MatchWithdrawn,
    PlayerLeft,
)
from rollgym.server.events.stream import EventStream
from rollgym.server.lobby.queue import Group
from rollgym.server.play.match import MARGIN, Match, Phase, verdict_message
from rollgym.server.play.openings import Openings, Player, match_start
from rollgym.server.play.relay import Relay
from rollgym.server.play.seat_resume import Returning
from rollgym.server.play.series import Series
from rollgym.server.play.table import Table
from rollgym.server.play.tickets import new_ticket, ticket_hash
from rollgym.server.record.judging import Judging
from rollgym.server.settings import Experiment
from rollgym.server.storage.background import Background
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.errors import Stopped
from rollgym.server.storage.rows import MatchRow, UnjudgedRow

STUCK = "stuck"
"""Reason of a departure: the player was connected and brought nothing on, or nobody got any further."""

GOODBYE = "client disconnect"
"""Socket.IO's reason for a connection that its client has ended, and not an accident."""

Tell = Callable[[str, Struct], Awaitable[None]]
"""Sends a message to a client's control connection. A client that is gone is no error."""


class Matches:
    """All matches that are not over, and what happens to them. Owned by the event loop."""

    def __init__(
        self,
        experiment: Experiment,
        game: GameIdentity,
        play: PlaySettings,
        series: Series,
        *,
        max_frames: int,
        catalogue: Catalogue,
        judging: Judging,
        relay: Relay,
        events: EventStream,
        tell: Tell,
        clock: Callable[[], float],
    ) -> None:
        self.series = series
        # Of an episode nobody reaches more frames than it has and may be simulated ahead.
        self._last = Reached(play.episodes - 1, max_frames + play.max_prediction + play.input_delay)
        self._openings = Openings(experiment, game, play, series, last=self._last, clock=clock)
        self._catalogue = catalogue
        self._judging = judging
        self._relay = relay
        self._events = events
        self._tell = tell
        self._clock = clock
        self.table = Table()
        self._returning = Returning(events=events, tell=tell, clock=clock)
        self.background = Background()
        self._stopping = False
        self.done = asyncio.Event()
        """All matches that the experiment asks for are over."""
        self.released: Callable[[str, Group], None] = lambda client, group: None
        """Called when a client is done with a match: the lobby may seat it again."""
        self.annulled: Callable[[Group], None] = lambda group: None
        """Called when play of a group will not begin."""

    @property
    def live(self) -> list[Match]:
        """Matches that are not over."""
        return list(self.table.matches.values())

    @property
    def unrecorded(self) -> dict[str, str]:
        """Matches of this run of which the catalogue would not take something, and what."""
        return self.background.unrecorded

    def get(self, match: str) -> Match | None:
        """A match that is not over."""
        return self.table.matches.get(match)

    # --- opening ------------------------------------------------------------------------------------------------

    async def record(self, players: tuple[Player, ...]) -> tuple[Match, tuple[str, ...]]:
        """Make a match and put it into the catalogue. Nobody is told yet. Returns it and the players' tickets."""
        match, tickets = self._openings.make(players)
        try:
            await self._catalogue.add_match(match.row, tuple(map(ticket_hash, tickets)))
        except BaseException:
            self._openings.undo(match)
            raise
        return match, tickets

    async def begin(self, match: Match, tickets: tuple[str, ...], group: Group) -> None:
        """Tell the players. From the first line on the match can be played, left and annulled."""
        match.group = group
        self.series.begun += 1
        self.table.add(match, tickets)
        row = match.row
        self._events.publish(
            MatchStarted(
                match=row.id,
                experiment=row.experiment,
                condition=row.condition,
                participants=row.participants,
                seed=row.seed,
            )
        )
        for player, (seat, ticket) in enumerate(zip(match.seats, tickets, strict=True)):
            if match.row.id not in self.table.matches:
                return  # annulled while one of them was told
            if seat.client is None:
                continue
            resume = new_ticket()
            seat.token = ticket_hash(resume)
            await self._tell(seat.client, match_start(match.row, player, ticket, resume))
        wait = match.row.settings.start_timeout + MARGIN
        asyncio.get_running_loop().call_later(wait, self._start_is_due, match)
        self._look_later(match)

    def _goes_on(self, match: Match) -> bool:
        return not match.ended and not self._stopping and self.get(match.row.id) is match

    def _start_is_due(self, match: Match) -> None:
        if (
            not match.ended
            and match.row.id in self.table.matches
            and match.phase is Phase.PAIRED
            and not self._stopping
        ):
            self.background.start(self._remove_late(match))

    async def _remove_late(self, match: Match) -> None:
        """Whoever has not opened the relay by now loses its seat; the others wait for a better partner."""
        late = [player for player, seat in enumerate(match.seats) if not seat.relayed and not seat.done]
        for player in late:
            match.leave(player, self._clock())
            self._returning.let_go(match, player)
            await self._dismiss(match, player, "the relay was not opened in time")
        if not await self._annul(match):
            for player in late:
                await self._go_on_without(match, player, "did not open the relay")

    def _look_later(self, match: Match) -> None:
        """Look again when somebody may have brought nothing on for too long."""
        now = self._clock()
        asyncio.get_running_loop().call_later(match.look_at(now) - now + 0.001, self._look, match)

    def _look(self, match: Match) -> None:
        if not self._goes_on(match):
            return
        for player in match.stuck(self._clock()):
            self.background.start(self._remove_stuck(match, player))
        self._look_later(match)

    async def _remove_stuck(self, match: Match, player: int) -> None:
        if match.ended or match.seats[player].done:
            return
        await self._dismiss(match, player, STUCK)
        await self._leave(match, player, STUCK)

    async def _dismiss(self, match: Match, player: int, reason: str) -> None:
        """Tell a player that it is out. It hears nothing of the match any more, and may join for another."""
        self._release(match, player)
        seat = match.seats[player]
        client, seat.client = seat.client, None
        if client is not None:
            self.table.stand_up(match, client)
            await self._tell(client, MatchOver(match.row.id, f"removed: {reason}"))

    async def withdraw(self, match: Match) -> None:
        """Forget a recorded match that nobody was told of."""
        if await self.background.write("drop_match", match.row.id, partial(self._catalogue.drop_match, match.row.id)):
            self._openings.undo(match)
        self._events.publish(MatchWithdrawn(match=match.row.id))

    # --- what clients do ----------------------------------------------------------------------------------------

    def relay_opened(self, match_id: str, player: int) -> None:
        """A player has opened the relay. When all have, play has begun."""
        match = self.get(match_id)
        if match is not None:
            match.seats[player].relayed = True
            match.seats[player].signs.opened(self._clock())

    async def client_gone(self, client: str, reason: str) -> None:
        """A client's control connection ended."""
        if self._stopping:
            return  # we ended it: its match goes on, as far as uploads go, when we are back
        for match, player in self.table.lost(client):
            if reason == GOODBYE or match.phase is Phase.PAIRED:
                await self._leave(match, player, reason)
            elif not match.seats[player].done:
                self._returning.hold(match, player, reason, partial(self._not_back, match, player, reason))

    def _not_back(self, match: Match, player: int, reason: str) -> None:
        if not self._stopping:
            self.background.start(self._leave(match, player, reason))

    def seat_of(self, resume: Resume) -> tuple[Match, int]:
        """Whose seat a token takes again. Changes nothing. Raises :class:`RefusedError`."""
        return self._returning.seat_of(resume, self.table.matches)

    async def take_seat(self, match: Match, player: int, client: str, resume: Resume) -> str | None:
        """A player is back, on a new connection. Says which connection it had until now, if it is still there.

        To be called without an await after :meth:`seat_of`.
        """
        before = match.seats[player].client
        if before is not None:
            self.table.stand_up(match, before)
        self.table.sit_down(match, client)
        await self._returning.take(match, player, client, resume)
        return before

    async def leave(self, client: str, reason: str) -> bool:
        """A client leaves the match it plays. False if it plays none."""
        found = self.table.playing(client)
        if found is None:
            return False
        match, player = found
        await self._leave(match, player, reason or "left")
        self._release(match, player)
        return True

    async def finish(self, client: str) -> bool:
        """A client has uploaded everything of the match it plays. Twice is once. False if it plays none."""
        found = self.table.playing(client)
        if found is None:
            return any(match.seats[n].finished for match, n in self.table.seats_of(client))
        match, player = found
        match.seats[player].finished = True
        match.seats[player].signs.moved = self._clock()
        self._release(match, player)
        self._check(match)
        return True

    async def _leave(self, match: Match, player: int, reason: str) -> None:
        paired = match.phase is Phase.PAIRED
        if not match.leave(player, self._clock()):
            return
        self._returning.let_go(match, player)
        await self._relay.close_player(match.row.id, player)
        if not paired or not await self._annul(match):
            await self._go_on_without(match, player, reason)

    async def _go_on_without(self, match: Match, player: int, reason: str) -> None:
        self._events.publish(PlayerLeft(match=match.row.id, player=player, reason=reason))
        for other, seat in enumerate(match.seats):
            if other != player and seat.left_at is None:
                await self._returning.say(match, other, PeerLeft(match.row.id, player, reason[:1024]))
        left = partial(self._catalogue.player_left, match.row.id, player, time.time(), reason[:1024])
        self.background.start(self.background.write("player_left", match.row.id, left))
        self._check(match)

    async def _annul(self, match: Match) -> bool:
        """A player was lost before everyone had opened the relay: as if they had never been paired.

        False for a match that has to go on to its end, because an upload of it was acknowledged.
        """
        if match.annulled:
            return True
        if match.uploads or match.ended:
            return False
        match.annulled = True
        self._forget(match)
        self.series.begun -= 1
        self._events.publish(MatchAnnulled(match=match.row.id))
        assert match.group is not None
        remaining = [player for player, seat in enumerate(match.seats) if not seat.done]
        for seat in match.seats:
            if seat.client is not None and seat.done:
                self.released(seat.client, match.group)
        for player in remaining:
            await self._returning.say(match, player, MatchOver(match.row.id, ANNULLED))
        self.annulled(match.group)
        self.background.start(self._catalogue_annulled(match))
        return True

    async def _catalogue_annulled(self, match: Match) -> None:
        undone = False

        async def annul() -> None:
            nonlocal undone
            undone = await self._catalogue.annul_match(match.row.id, time.time(), ANNULLED)

        if await self.background.write("annul_match", match.row.id, annul) and undone:
            self._openings.undo(match)  # and not before: a kill in between would leave two matches of one number

    # --- uploads and verdicts -----------------------------------------------------------------------------------

    def uploaded(self, match_id: str, episode: int, player: int) -> bool:
        """An upload is durable. False if the match is not a live one: it has to be revived."""
        match = self.get(match_id)
        if match is None:
            return False
        match.uploads.setdefault(episode, set()).add(player)
        self._check(match)
        return True

    async def revive(self, row: MatchRow, *, grace: float = 0.0, counts: bool = False) -> None:
        """Take up a match of an earlier run, or one that is over and got a late upload. Nobody plays it any more.

        ``counts``: it is one of this experiment's that were begun and are not over.
        """
        uploads = await self._catalogue.uploads(row.id)
        verdicts = await self._catalogue.verdicts(row.id)
        if row.id in self.table.matches:
            for upload in uploads:
                self.uploaded(row.id, upload.episode, upload.player)
            return
        match = Match.taken_up(row, uploads, verdicts, grace=grace, counts=counts, now=self._clock(), last=self._last)
        self.table.add(match)
        self._events.publish(MatchTakenUp(match=row.id))
        self._check(match)

    def _check(self, match: Match) -> None:
        """Start what can be judged; end the match if all is done; come back when the grace is over."""
        if match.ended or self._stopping:
            return
        now = self._clock()
        for episode in match.to_judge(now):
            match.running.add(episode)
            self.background.start(self._judge(match, episode))
        if match.over(now):
            match.ended = True
            self.background.start(self._end(match))
            return
        at = match.changes_at(now)
        if at is not None:
            asyncio.get_running_loop().call_later(at - now + 0.001, self._check, match)

    async def _judge(self, match: Match, episode: int) -> None:
        try:
            row, considered = await self._judging.judge(match.row, episode)
        except Stopped:
            return  # the next start goes on
        match.running.discard(episode)
        if isinstance(row, UnjudgedRow):
            match.unjudged[episode] = row
        else:
            match.judged[episode] = considered
            match.verdicts[episode] = verdict_message(row)
            match.unjudged.pop(episode, None)
            for player in range(len(match.seats)):
                await self._returning.say(match, player, match.verdicts[episode])
        self._check(match)

    async def _end(self, match: Match) -> None:
        reason = match.outcome()
        # Whatever the catalogue says, the match is over: nobody is kept waiting, and the next start ends it there.
        await self.background.write(
            "end_match", match.row.id, lambda: self._catalogue.end_match(match.row.id, time.time(), reason)
        )
        if not match.over(self._clock()):
            match.ended = False  # an upload came in the meantime: it is judged first
            self._check(match)
            return
        for player in range(len(match.seats)):
            self._release(match, player)
        self._forget(match)
        for player in range(len(match.seats)):
            await self._returning.say(match, player, MatchOver(match.row.id, reason))
        self._events.publish(MatchEnded(match=match.row.id, reason=reason, complete=reason == COMPLETE))
        if match.counts:
            match.counts = False
            self.series.over += 1
            self.look_whether_done()

    def look_whether_done(self) -> None:
        """Has the experiment all the matches it asks for?"""
        if self.series.done:
            self.done.set()

    def _release(self, match: Match, player: int) -> None:
        seat = match.seats[player]
        if seat.client is not None and match.group is not None:
            self.released(seat.client, match.group)

    def _forget(self, match: Match) -> None:
        self.table.remove(match)
        self._relay.close_match(match.row.id)
        self._returning.remember(match)

    async def drain(self, seconds: float) -> None:
        """Let verdicts that are being found come in, for at most ``seconds``; then stop. The next start goes on."""
        self._stopping = True
        await self.background.drain(seconds)
