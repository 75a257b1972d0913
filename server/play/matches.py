"""The matches of this server: opened by the lobby, moved on by clients and uploads, ended by the last verdict.

What moves them on is in :mod:`~rollgym.server.play.departures` and :mod:`~rollgym.server.play.settling`; this is the
way in for whoever has something to say about a match.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from rollgym.protocol.messages import PeerSignal, Resume, Signal
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import EpisodeReached, MatchStarted, MatchTakenUp, MatchWithdrawn
from rollgym.server.events.stream import EventStream
from rollgym.server.play.addresses import Addresses
from rollgym.server.play.departures import Departures
from rollgym.server.play.experiment import Player, RunningExperiment, furthest
from rollgym.server.play.hall import Hall, Tell
from rollgym.server.play.match import Match
from rollgym.server.play.relay import Relay
from rollgym.server.play.settling import Settling
from rollgym.server.play.table import Table
from rollgym.server.record.judging import Judging
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.errors import CatalogueError
from rollgym.server.storage.rows import Holder, MatchRow
from rollgym.server.tickets import new_ticket, ticket_hash

SIGNALS = 1000
"""Signals that a player may send in one match: a few dozen are enough to set up any connection."""

_TAKEN = 16
# Attempts to find a number that no other process has taken meanwhile.


class Matches:
    """All matches that are not over, of all experiments. Owned by the event loop."""

    def __init__(
        self,
        experiments: Sequence[RunningExperiment],
        *,
        episode_frames: int,
        catalogue: Catalogue,
        judging: Judging,
        relay: Relay,
        events: EventStream,
        tell: Tell,
        clock: Callable[[], float],
        addresses: Addresses | None = None,
    ) -> None:
        """``episode_frames``: of the longest episode that the server takes."""
        self.experiments = tuple(experiments)
        self._episode_frames = episode_frames
        self._addresses = addresses or Addresses()
        self.hall = Hall(catalogue, relay, events, tell, clock)
        self.settling = Settling(self.hall, judging, self.look_whether_done)
        self.departures = Departures(self.hall, self.settling.settle)
        self.done = asyncio.Event()
        """All matches that the experiments ask for are over."""

    @property
    def table(self) -> Table:
        """Who sits where."""
        return self.hall.table

    @property
    def live(self) -> list[Match]:
        """Matches that are not over."""
        return list(self.table.matches.values())

    @property
    def unrecorded(self) -> dict[str, str]:
        """Matches of this run of which the catalogue would not take something, and what."""
        return self.hall.background.unrecorded

    def get(self, match: str) -> Match | None:
        """A match that is not over."""
        return self.table.matches.get(match)

    def row_of(self, match: str) -> MatchRow | None:
        """What was agreed for a match that is not over."""
        found = self.get(match)
        return None if found is None else found.row

    def holder_of(self, hashed_ticket: bytes) -> Holder | None:
        """Whose ticket it is, among matches that are not over."""
        return self.table.holder(hashed_ticket)

    # --- opening ------------------------------------------------------------------------------------------------

    async def record(self, experiment: RunningExperiment, players: tuple[Player, ...]) -> tuple[Match, tuple[str, ...]]:
        """Make a match and put it into the catalogue. Nobody is told yet. Returns it and the players' tickets.

        Raises :class:`CatalogueError` and :class:`~rollgym.server.storage.errors.Stopped`.
        """
        for attempt in range(1, _TAKEN + 1):
            match, tickets = Match.begun(experiment, players, self.hall.clock()), tuple(new_ticket() for _ in players)
            try:
                await self.hall.catalogue.add_match(match.row, tuple(map(ticket_hash, tickets)))
                return match, tickets
            except CatalogueError as error:
                if error.kind != "taken" or attempt == _TAKEN:
                    experiment.undo(match.row)
                    raise
                # Another server's process plays the same experiment over the same catalogue.
                experiment.series.look_again(await self.hall.catalogue.progress(*experiment.name))
            except BaseException:
                experiment.undo(match.row)
                raise
        raise AssertionError("unreachable")

    async def begin(self, match: Match, tickets: tuple[str, ...], group: object) -> None:
        """Tell the players. From the first line on the match can be played, left and annulled."""
        row = match.row
        match.group = group
        if match.experiment is not None:
            match.experiment.series.begun += 1
        self.table.add(match, tickets)
        self.hall.events.publish(
            MatchStarted(
                match=row.id,
                experiment=row.experiment,
                condition=row.condition,
                participants=row.participants,
                seed=row.seed,
            )
        )
        for player, (seat, ticket) in enumerate(zip(match.seats, tickets, strict=True)):
            if row.id not in self.table.matches:
                return  # annulled while one of them was told
            seat.signs.new_episode = partial(self._reached, row.id, player)
            if seat.client is None:
                continue
            resume = new_ticket()
            seat.token = ticket_hash(resume)
            await self.hall.tell(seat.client, self._addresses.match_start(row, player, ticket, resume))
        self.departures.watch(match)

    def _reached(self, match: str, player: int, episode: int) -> None:
        self.hall.events.publish(EpisodeReached(match=match, player=player, episode=episode))

    async def withdraw(self, match: Match) -> None:
        """Forget a recorded match that nobody was told of."""
        row, experiment = match.row, match.experiment
        dropped = await self.hall.background.write(
            "drop_match", row.id, partial(self.hall.catalogue.drop_match, row.id)
        )
        if dropped and experiment is not None:
            experiment.undo(row)
        self.hall.events.publish(MatchWithdrawn(match=row.id))

    # --- what clients do ----------------------------------------------------------------------------------------

    def relay_opened(self, match_id: str, player: int) -> None:
        """A player has opened the relay. When all have, play has begun."""
        match = self.get(match_id)
        if match is not None:
            match.seats[player].relayed = True
            match.seats[player].signs.opened(self.hall.clock())

    async def client_gone(self, client: str, reason: str) -> None:
        """A client's control connection ended."""
        if not self.hall.stopping:  # else we ended it: its match goes on, as far as uploads go, when we are back
            await self.departures.connection_ended(client, reason)

    def seat_of(self, resume: Resume) -> tuple[Match, int]:
        """Whose seat a token takes again. Changes nothing. Raises :class:`RefusedError`."""
        return self.hall.seat_resume.seat_of(resume, self.table.matches)

    async def take_seat(self, match: Match, player: int, client: str, resume: Resume) -> str | None:
        """A player is back, on a new connection. Says which connection it had until now, if it is still there.

        To be called without an await after :meth:`seat_of`.
        """
        before = match.seats[player].client
        if before is not None:
            self.table.stand_up(match, before)
        self.table.sit_down(match, client)
        await self.hall.seat_resume.take(match, player, client, resume)
        return before

    async def leave(self, client: str, reason: str) -> bool:
        """A client leaves the match it plays. False if it plays none."""
        found = self.table.playing(client)
        if found is None:
            return False
        match, player = found
        await self.departures.leave(match, player, reason or "left")
        self.hall.release(match, player)
        return True

    async def finish(self, client: str) -> bool:
        """A client has uploaded everything of the match it plays. Twice is once. False if it plays none."""
        found = self.table.playing(client)
        if found is None:
            return any(match.seats[n].finished for match, n in self.table.seats_of(client))
        match, player = found
        match.seats[player].finished = True
        match.seats[player].signs.moved = self.hall.clock()
        self.hall.release(match, player)
        self.settling.settle(match)
        return True

    async def signal(self, client: str, signal: Signal) -> None:
        """Hand a player's signal to another player of its match, if that is there. Raises :class:`RefusedError`."""
        found = self.table.playing(client)
        if found is None or found[0].row.id != signal.match:
            raise RefusedError(409, "not_in_match", "this connection does not play that match", field="match")
        match, player = found
        if signal.player == player or signal.player >= len(match.seats):
            raise RefusedError(400, "bad_message", f"player {signal.player}: expected another player", field="player")
        seat = match.seats[player]
        if seat.signals >= SIGNALS:
            raise RefusedError(
                429, "too_many_signals", f"a player may send {SIGNALS} signals in a match", field="match"
            )
        seat.signals += 1
        receiver = match.seats[signal.player].client
        if receiver is not None:
            await self.hall.tell(receiver, PeerSignal(match.row.id, player, signal.data))

    # --- uploads and verdicts -----------------------------------------------------------------------------------

    def uploaded(self, match_id: str, episode: int, player: int) -> bool:
        """An upload is durable. False if the match is not a live one: it has to be revived."""
        match = self.get(match_id)
        if match is None:
            return False
        match.uploads.setdefault(episode, set()).add(player)
        self.settling.settle(match)
        return True

    async def revive(self, row: MatchRow, *, grace: float = 0.0, experiment: RunningExperiment | None = None) -> None:
        """Take up a match of an earlier run, or one that is over and got a late upload. Nobody plays it any more.

        ``experiment``: the one of whose matches it is, if it was begun, is not over, and its end counts.
        """
        uploads = await self.hall.catalogue.uploads(row.id)
        verdicts = await self.hall.catalogue.verdicts(row.id)
        if row.id in self.table.matches:
            for upload in uploads:
                self.uploaded(row.id, upload.episode, upload.player)
            return
        match = Match.taken_up(
            row,
            uploads,
            verdicts,
            grace=grace,
            experiment=experiment,
            now=self.hall.clock(),
            last=furthest(row.settings, self._episode_frames),
        )
        self.table.add(match)
        self.hall.events.publish(MatchTakenUp(match=row.id))
        self.settling.settle(match)

    def look_whether_done(self) -> None:
        """Have the experiments all the matches they ask for?"""
        self.hall.counted()
        if all(experiment.series.done for experiment in self.experiments):
            self.done.set()

    async def drain(self, seconds: float) -> None:
        """Let verdicts that are being found come in, for at most ``seconds``; then stop. The next start goes on."""
        self.hall.stopping = True
        await self.hall.background.drain(seconds)
