"""A control connection that comes back: when it breaks in the middle of a match, the seat is taken again.

A process that is stopped for some seconds, a network that is gone for a moment and a server that stalls all break the
control connection, though the match itself goes on over the relay. The server holds the seat for as long as the match
allows a player to be silent. Within that time this connects again and says ``resume`` with the seat's token.

The token of the next time is made up here and sent along. If the connection breaks before the server's answer, the
server may know the new token or only the old one: both are tried, the newest first.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog

from rollgym.client_sim.backoff import Backoff
from rollgym.client_sim.client.control import CONNECT_TIMEOUT, Control, ServerMessage
from rollgym.client_sim.client.control_errors import ConnectionLost, ControlError, JoinRefused
from rollgym.protocol.messages import BAD_RESUME, GameIdentity, MatchOver, MatchStart, PeerLeft, Verdict

log = structlog.get_logger(__name__)

BACKOFF_FIRST, BACKOFF_MOST = 0.05, 1.0
"""Seconds between attempts."""

CLOSING = "closing"
"""The server's answer while it stops: another one may take its place in time."""

TOKEN_BYTES = 32


class HeldSeat:
    """What it takes to come back to a match."""

    def __init__(self, start: MatchStart) -> None:
        self.match = start.match
        self.grace = start.settings.silence
        """Seconds for which the server holds it, at least."""
        self.tokens = [start.resume]
        """One of them is good: the last that the server has taken note of. Oldest first."""
        self.heard = 0
        """Messages about the match so far."""


class ReconnectingControl:
    """Like :class:`~rollgym.client_sim.client.control.Control`, over as many connections as it takes.

    ``on_lost`` is called once, when the connection is lost for good: there is no seat to come back to, the server does
    not give it back, or it cannot be reached in time.
    """

    def __init__(
        self,
        url: str,
        *,
        on_message: Callable[[ServerMessage], None],
        on_lost: Callable[[str], None],
        timeout: float = CONNECT_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.url = url
        self.resumes = 0
        """How often a broken connection was replaced."""
        self._on_message = on_message
        self._on_lost = on_lost
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects, no secret
        self._control = self._new_control()
        self._seat: HeldSeat | None = None
        self._returning: asyncio.Task[None] | None = None
        self._lost: str | None = None
        self._closing = False

    @property
    def lost(self) -> bool:
        """The connection has ended and will not come back."""
        return self._lost is not None

    @property
    def away(self) -> bool:
        """The connection has broken and may come back."""
        return self._returning is not None

    def check(self) -> None:
        """Raises :class:`ConnectionLost` if the connection has ended for good."""
        if self._lost is not None:
            raise ConnectionLost(self._lost)

    async def connect(self) -> None:
        """Raises :class:`ServerUnreachable`."""
        await self._control.connect()

    async def join(self, game: GameIdentity, participant: str | None, software: dict[str, str]) -> str:
        """As :meth:`Control.join`."""
        return await self._control.join(game, participant, software)

    async def finished(self, episodes: int) -> None:
        """As :meth:`Control.finished`; said again on a new connection if the old one took the answer with it."""
        while True:
            await self._back()
            control = self._control
            try:
                await control.finished(episodes)
                return
            except ConnectionLost:
                if not control.lost:
                    raise  # it is there and does not answer

    async def leave(self, reason: str, *, within: float) -> None:
        """As :meth:`Control.leave`. There is no coming back after that."""
        self._seat = None
        await self._stop_returning("left")
        await self._control.leave(reason, within=within)

    async def close(self, *, within: float) -> None:
        """End the connection: politely, or after ``within`` seconds anyhow."""
        self._closing = True
        await self._stop_returning("closed")
        await self._control.close(within=within)

    # -- one connection ------------------------------------------------------------------------------------------

    def _new_control(self) -> Control:
        control: Control = Control(
            self.url,
            on_message=lambda message: self._on_connection_message(control, message),
            on_lost=lambda reason: self._broke(control, reason),
            timeout=self._timeout,
        )
        return control

    def _on_connection_message(self, control: Control, message: ServerMessage) -> None:
        if control is not self._control:
            return  # said to a connection that we have given up; it will be said again
        seat = self._seat
        if isinstance(message, MatchStart):
            self._seat = HeldSeat(message) if message.resume else None
        elif seat is not None and isinstance(message, PeerLeft | Verdict | MatchOver) and message.match == seat.match:
            seat.heard += 1
            if isinstance(message, MatchOver):
                self._seat = None
        self._on_message(message)

    def _broke(self, control: Control, reason: str) -> None:
        if self._closing or self.lost or control is not self._control or self.away:
            return
        if self._seat is None:
            self._give_up(reason)
            return
        log.warning("connection to the server broke: coming back", reason=reason, match=self._seat.match)
        self._returning = asyncio.create_task(self._return(self._seat, reason), name="resume")

    def _give_up(self, reason: str) -> None:
        self._returning = None
        self._lost = reason
        if not self._closing:
            self._on_lost(reason)

    # -- coming back ---------------------------------------------------------------------------------------------

    async def _return(self, seat: HeldSeat, reason: str) -> None:
        try:
            await self._try_to_return(seat, reason)
        except Exception as error:
            self._give_up(f"{reason}; {error!r}")  # whoever waits for us must not wait for ever
            raise

    async def _try_to_return(self, seat: HeldSeat, reason: str) -> None:
        deadline = self._clock() + seat.grace
        backoff = Backoff(BACKOFF_FIRST, BACKOFF_MOST, self._rng)
        while True:
            await self._control.close(within=0.0)
            self._control = self._new_control()
            try:
                await self._control.connect()
                await self._resume(seat)
                break
            except JoinRefused as error:
                if error.code != CLOSING:
                    self._give_up(f"{reason}; {error}")
                    return
            except ControlError as error:
                log.debug("not back yet", error=str(error), attempt=backoff.attempts)
            pause = backoff.next_within(deadline - self._clock())
            if pause is None:
                self._give_up(f"{reason}; not back within {seat.grace:g} s")
                return
            await self._sleep(pause)
        self.resumes += 1
        self._returning = None
        log.info("connection to the server is back, and our seat", match=seat.match, attempts=backoff.attempts + 1)
        if self._control.lost:  # broken again, between the server's answer and this line
            self._broke(self._control, "closed")

    async def _resume(self, seat: HeldSeat) -> None:
        """Raises :class:`JoinRefused` if no token is good any more."""
        new = secrets.token_urlsafe(TOKEN_BYTES)
        tokens = list(reversed(seat.tokens))
        seat.tokens.append(new)
        for number, token in enumerate(tokens, start=1):
            try:
                await self._control.resume(seat.match, token, new, seat.heard)
            except JoinRefused as error:
                if error.code == BAD_RESUME and number < len(tokens):
                    continue
                seat.tokens.pop()
                raise
            seat.tokens = [new]
            return

    async def _back(self) -> None:
        """Wait while we are coming back. Raises :class:`ConnectionLost` if that fails."""
        while self._returning is not None:
            await asyncio.wait((self._returning,))
        self.check()

    async def _stop_returning(self, reason: str) -> None:
        task, self._returning = self._returning, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._lost = self._lost or reason
