"""Clients come in here: they are checked, queued, paired, and sent off to a match."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Awaitable, Callable

import structlog

from rollgym.protocol.messages import ErrorReply, GameIdentity, Join, Resume, first_difference
from rollgym.protocol.version import PROTOCOL_VERSION
from rollgym.server.catalogue import Stopped
from rollgym.server.errors import RefusedError
from rollgym.server.lobby import Group, Lobby, LobbyError, Place
from rollgym.server.matches import Matches, Player, Tell
from rollgym.server.metrics import Metrics

_RETRY = 1.0
# Seconds between attempts to record a match while the disk refuses.

log = structlog.get_logger("rollgym.server.reception")

Drop = Callable[[str], Awaitable[None]]
"""Ends a client's control connection."""


class Reception:
    """The queue and its task that pairs. Owned by the event loop."""

    def __init__(
        self, game: GameIdentity, matches: Matches, metrics: Metrics, tell: Tell, drop: Drop, *, capacity: int
    ) -> None:
        self._game = game
        self._matches = matches
        self._metrics = metrics
        self._tell = tell
        self._drop = drop
        self._players: dict[str, Player] = {}
        self._wake = asyncio.Event()
        self._open = True
        self.lobby = Lobby(len(game.players), capacity)
        matches.released = self._released
        matches.annulled = self._annulled

    def join(self, client: str, join: Join) -> str:
        """Take a client into the queue and give its label. Raises :class:`RefusedError`."""
        _check_protocol(join.protocol)
        difference = first_difference(self._game, join.game)
        if difference is not None:
            raise RefusedError(
                409,
                "game_mismatch",
                f"game.{difference.field}: this server plays something else",
                field=f"game.{difference.field}",
                expected=difference.first,
                actual=difference.second,
            )
        if not self._open:
            raise RefusedError(503, "closing", "the server is stopping")
        if self._matches.done.is_set():
            raise RefusedError(503, "no_more_matches", "the experiment has all the matches it asked for")
        if self.lobby.place(client) is Place.WAITING:
            return self._players[client].participant  # asking twice changes nothing
        try:
            self.lobby.join(client)
        except LobbyError as error:
            raise RefusedError(409 if error.code == "already_playing" else 503, error.code, str(error)) from error
        label = join.participant or f"anonymous-{secrets.token_hex(4)}"
        self._players[client] = Player(client, label, dict(join.software))
        self._changed()
        return label

    async def resume(self, client: str, resume: Resume) -> None:
        """Give a client whose connection broke its seat again. Raises :class:`RefusedError`, and has done nothing."""
        _check_protocol(resume.protocol)
        if not self._open:
            raise RefusedError(503, "closing", "the server is stopping")
        try:
            self.lobby.check_nowhere(client)
            match, player = self._matches.seat_of(resume)
            seat = match.seats[player]
            if match.annulled:
                self.lobby.join(client)  # as its partners are: it missed that it is waiting again
        except LobbyError as error:
            raise RefusedError(409 if error.code == "already_playing" else 503, error.code, str(error)) from error
        self._players[client] = Player(client, seat.participant, match.row.software[player])
        if not match.annulled and not match.ended and not seat.done and match.group is not None:
            self.lobby.replace(seat.member, client, match.group)
        before = await self._matches.take_seat(match, player, client, resume)
        if before is not None and before != client:
            await self._drop(before)
        self._changed()

    async def leave(self, client: str, reason: str) -> None:
        """The client stops waiting, or leaves its match. Raises :class:`RefusedError` if it does neither."""
        if self.lobby.place(client) is Place.WAITING:
            self.lobby.leave(client)
            self._changed()
        elif not await self._matches.leave(client, reason):
            if self.lobby.leave(client) is not Place.SEATED:  # seated: being paired, and not told yet
                raise RefusedError(409, "not_in_match", "this connection neither waits nor plays")
            self._changed()

    async def gone(self, client: str, reason: str) -> None:
        """The client's connection ended, wherever it was."""
        self.lobby.leave(client)
        self._players.pop(client, None)
        await self._matches.client_gone(client, reason)
        self._changed()

    def _released(self, client: str, group: Group) -> None:
        self.lobby.release(client, group)
        self._changed()

    def _annulled(self, group: Group) -> None:
        self.lobby.dissolve(group)
        self._changed()

    def _changed(self) -> None:
        self._metrics.waiting.set(self.lobby.waiting)
        self._wake.set()

    # --- pairing ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pair whoever waits, for ever. Cancelled when the server stops."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._open and self._matches.series.room:
                group = self.lobby.pair()
                if group is None:
                    break
                self._metrics.waiting.set(self.lobby.waiting)
                if not await self._start(group):
                    break
            if self._matches.done.is_set():
                await self._send_home()

    async def _start(self, group: Group) -> bool:
        """Record and begin a group's match. False if pairing should pause."""
        players = tuple(self._players[client] for client in group.members)
        try:
            match, tickets = await self._matches.record(players)
        except (sqlite3.Error, Stopped) as error:
            log.error("match_not_recorded", error=str(error))  # a full disk, say: they wait, and it is tried again
            self.lobby.dissolve(group)
            asyncio.get_running_loop().call_later(_RETRY, self._wake.set)
            return False
        # No await between this look and begin(): from then on Matches hears of every client that goes.
        if any(self.lobby.place(client) is not Place.SEATED for client in group.members):
            self.lobby.dissolve(group)
            self._changed()
            await self._matches.withdraw(match)
            return True
        await self._matches.begin(match, tickets, group)
        return True

    async def _send_home(self) -> None:
        for client in self.lobby.queue():
            self.lobby.leave(client)
            await self._tell(client, ErrorReply("no_more_matches", "the experiment has all the matches it asked for"))
        self._metrics.waiting.set(0)

    def close(self) -> None:
        """Pair nobody any more."""
        self._open = False

    def done(self) -> None:
        """Look again whether the experiment has all its matches."""
        self._wake.set()


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
