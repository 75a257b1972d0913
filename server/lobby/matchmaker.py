"""Clients come in here: they are checked, queued, paired, and sent off to a match."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import structlog

from rollgym.protocol.messages import ErrorReply, Join, Resume
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import ClientDropped, ClientJoined, QueueChanged
from rollgym.server.events.stream import EventStream
from rollgym.server.lobby.choice import Rule, by_game
from rollgym.server.lobby.desk import Desk
from rollgym.server.lobby.queue import Group, LobbyError, Place
from rollgym.server.play.experiment import Player
from rollgym.server.play.hall import Tell
from rollgym.server.play.match import Match
from rollgym.server.play.matches import Matches
from rollgym.server.storage.errors import CatalogueError, Stopped

_RETRY = 1.0
# Seconds between attempts to record a match while the disk refuses.

_LAST_WORD = 1.0
# Seconds in which a client that is sent away can read why.

log = structlog.get_logger("rollgym.server.lobby.matchmaker")

Drop = Callable[[str], Awaitable[None]]
"""Ends a client's control connection."""


class Matchmaker:
    """A desk for each experiment, and the task that pairs who waits there. Owned by the event loop."""

    def __init__(
        self,
        matches: Matches,
        events: EventStream,
        tell: Tell,
        drop: Drop,
        *,
        capacity: int,
        join_seconds: float,
        choose: Rule = by_game,
    ) -> None:
        """``capacity``: clients that may wait. ``join_seconds``: for a connection that neither waits nor plays.

        ``choose``: which experiment a client waits for.
        """
        self._matches = matches
        self._events = events
        self._tell = tell
        self._drop = drop
        self._join_seconds = join_seconds
        self._choose = choose
        self._idle: dict[str, bool] = {}  # of every connection: did it neither wait nor play at the last look
        self._players: dict[str, Player] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._open = True
        self._waiting = 0
        self.desks = tuple(Desk(experiment, capacity, tell) for experiment in matches.experiments)
        matches.hall.released = self._released
        matches.hall.annulled = self._annulled
        matches.hall.counted = self._wake.set

    @property
    def waiting(self) -> int:
        """Clients in all queues."""
        return sum(desk.lobby.waiting for desk in self.desks)

    def _desk(self, client: str) -> Desk:
        """Where the client is; the first desk if it is nowhere. It is at one at a time."""
        return next((desk for desk in self.desks if desk.lobby.place(client) is not Place.NOWHERE), self.desks[0])

    def _of(self, match: Match) -> Desk:
        return next(desk for desk in self.desks if desk.experiment is match.experiment)

    def arrived(self, client: str) -> None:
        """A control connection is there. It has to join or resume, or it holds a place for nothing."""
        self._idle[client] = True
        asyncio.get_running_loop().call_later(self._join_seconds, self._look, client)

    def _look(self, client: str) -> None:
        """Close a connection that was idle at the last look and is still. So it has one to two times the limit."""
        was_idle = self._idle.get(client)
        if was_idle is None or not self._open:
            return
        idle = self._is_idle(client)
        if idle and was_idle:
            sending = asyncio.ensure_future(self._send_away(client))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        else:
            self._idle[client] = idle
            asyncio.get_running_loop().call_later(self._join_seconds, self._look, client)

    def _is_idle(self, client: str) -> bool:
        nowhere = self._desk(client).lobby.place(client) is Place.NOWHERE
        return nowhere and not self._matches.table.has_seat(client)

    async def _send_away(self, client: str) -> None:
        message = f"this connection neither waited nor played for {self._join_seconds:g} s"
        await self._tell(client, ErrorReply("not_joined", message))
        await asyncio.sleep(_LAST_WORD)
        if not self._is_idle(client):  # it has joined at last
            self._idle[client] = False
            asyncio.get_running_loop().call_later(self._join_seconds, self._look, client)
            return
        self._events.publish(ClientDropped(code="not_joined", reason="it neither waits nor plays", client=client))
        await self._drop(client)

    def join(self, client: str, join: Join) -> str:
        """Take a client into a queue and give its label. Raises :class:`RefusedError`."""
        _check_protocol(join.protocol)
        desk = self._choose(self.desks, join)
        if not self._open:
            raise RefusedError(503, "closing", "the server is stopping")
        if self._desk(client).lobby.place(client) is Place.WAITING:
            return self._players[client].participant  # asking twice changes nothing
        self._sit_down(client, desk)
        label = join.participant or f"anonymous-{secrets.token_hex(4)}"
        self._players[client] = Player(client, label, dict(join.software))
        self._events.publish(ClientJoined(client=client, participant=label))
        self._changed()
        return label

    def _sit_down(self, client: str, desk: Desk) -> None:
        try:
            self._desk(client).lobby.check_nowhere(client)
            desk.lobby.join(client)
        except LobbyError as error:
            raise RefusedError(409 if error.code == "already_playing" else 503, error.code, str(error)) from error

    async def resume(self, client: str, resume: Resume) -> None:
        """Give a client whose connection broke its seat again. Raises :class:`RefusedError`, and has done nothing."""
        _check_protocol(resume.protocol)
        if not self._open:
            raise RefusedError(503, "closing", "the server is stopping")
        try:
            self._desk(client).lobby.check_nowhere(client)
        except LobbyError as error:
            raise RefusedError(409 if error.code == "already_playing" else 503, error.code, str(error)) from error
        match, player = self._matches.seat_of(resume)
        seat = match.seats[player]
        if match.annulled:
            self._sit_down(client, self._of(match))  # as its partners are: it missed that it is waiting again
        self._players[client] = Player(client, seat.participant, match.row.software[player])
        if not match.annulled and not match.ended and not seat.done and isinstance(match.group, Group):
            self._of(match).lobby.replace(seat.member, client, match.group)
        before = await self._matches.take_seat(match, player, client, resume)
        if before is not None and before != client:
            await self._drop(before)
        self._changed()

    async def leave(self, client: str, reason: str) -> None:
        """The client stops waiting, or leaves its match. Raises :class:`RefusedError` if it does neither."""
        lobby = self._desk(client).lobby
        if lobby.place(client) is Place.WAITING:
            lobby.leave(client)
            self._changed()
        elif not await self._matches.leave(client, reason):
            if lobby.leave(client) is not Place.SEATED:  # seated: being paired, and not told yet
                raise RefusedError(409, "not_in_match", "this connection neither waits nor plays")
            self._changed()

    async def gone(self, client: str, reason: str) -> None:
        """The client's connection ended, wherever it was."""
        for desk in self.desks:
            desk.lobby.leave(client)
            desk.notices.forget(client)
        self._players.pop(client, None)
        self._idle.pop(client, None)
        await self._matches.client_gone(client, reason)
        self._changed()

    def _released(self, client: str, group: object) -> None:
        assert isinstance(group, Group)
        for desk in self.desks:
            desk.lobby.release(client, group)
        self._changed()

    def _annulled(self, group: object) -> None:
        assert isinstance(group, Group)
        for desk in self.desks:
            desk.lobby.dissolve(group)
        self._changed()

    def _changed(self) -> None:
        self._publish_queue()
        self._wake.set()

    def _publish_queue(self) -> None:
        waiting = self.waiting
        if waiting != self._waiting:
            self._waiting = waiting
            self._events.publish(QueueChanged(waiting=waiting))

    # --- pairing ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pair whoever waits, for ever. Cancelled when the server stops."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for desk in self.desks:
                await self._pair_all(desk)
                if desk.experiment.series.done:
                    await self._send_home(desk)
                again = await desk.notices.tell_all(desk.lobby.queue(), desk.lobby.needed)
                if again is not None:
                    asyncio.get_running_loop().call_later(again, self._wake.set)

    async def _pair_all(self, desk: Desk) -> None:
        while self._open and desk.experiment.series.room:
            group = desk.lobby.pair()
            if group is None:
                return
            self._publish_queue()
            if not await self._start(desk, group):
                return

    async def _start(self, desk: Desk, group: Group) -> bool:
        """Record and begin a group's match. False if pairing should pause."""
        players = tuple(self._players[client] for client in group.members)
        try:
            match, tickets = await self._matches.record(desk.experiment, players)
        except (CatalogueError, Stopped) as error:
            log.error("match_not_recorded", error=str(error))  # a full disk, say: they wait, and it is tried again
            desk.lobby.dissolve(group)
            asyncio.get_running_loop().call_later(_RETRY, self._wake.set)
            return False
        # No await between this look and begin(): from then on Matches hears of every client that goes.
        if any(desk.lobby.place(client) is not Place.SEATED for client in group.members):
            desk.lobby.dissolve(group)
            self._changed()
            await self._matches.withdraw(match)
            return True
        await self._matches.begin(match, tickets, group)
        return True

    async def _send_home(self, desk: Desk) -> None:
        for client in desk.lobby.queue():
            desk.lobby.leave(client)
            await self._tell(client, ErrorReply("no_more_matches", "the experiment has all the matches it asked for"))
        self._publish_queue()

    def close(self) -> None:
        """Pair nobody any more."""
        self._open = False
        for task in self._sending:
            task.cancel()


def _check_protocol(version: int) -> None:
    if version != PROTOCOL_VERSION:
        raise RefusedError(
            400,
            "protocol_mismatch",
            f"protocol version {version}: this server speaks {PROTOCOL_VERSION}",
            field="protocol",
            expected=PROTOCOL_VERSION,
            actual=version,
        )
