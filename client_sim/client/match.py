"""One match from where the network is: the player process on one side, the transport on the other.

Packets go through as they come. While the game keeps its process busy, the partners hear from here that the player is
still there: they wait for it for ``start_timeout`` instead of ``disconnect_timeout``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from rollgym.client_sim.player.driver import STOP_LIMIT
from rollgym.client_sim.player.messages import Alive, Begin, Ended, Left, Outgoing, Stats, Stop, ToClient, keep_alive
from rollgym.client_sim.player.process import PlayerProcess
from rollgym.client_sim.transport.interface import GONE, Transport
from rollgym.protocol.packets import Hello, encode
from rollgym.protocol.relay import EVERYONE

log = structlog.get_logger(__name__)

FLUSH = 0.5
"""Seconds that packets held back by an impaired transport (the last End and Bye) have to get out at the end."""

INTERRUPT_AFTER = 1.0
"""Seconds after being told to stop in which a player process that is not busy has ended its match by far."""

KILL_AFTER = 5.0
"""Seconds after the interruption of a game that will not be interrupted. Long, because a kill costs the frames of the
episode: a machine that is merely busy must not be taken for a game that hangs."""

_STILL_HERE = encode(Hello(0, True))


class ServedMatch:
    """A match that is played.

    ``on_message`` gets what the player process says but packets and :class:`Stats`; ``on_progress`` gets
    :meth:`stats`. They run in the event loop and must not block.
    """

    def __init__(
        self,
        player: PlayerProcess,
        transport: Transport,
        begin: Begin,
        *,
        on_message: Callable[[ToClient], None],
        on_progress: Callable[[dict[str, Any]], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._player = player
        self._transport = transport
        self._begin = begin
        self._on_message = on_message
        self._on_progress = on_progress
        self._sleep = sleep
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stats: dict[str, Any] = {}
        self._stopping: asyncio.Task[None] | None = None
        self._was_sent = False
        self._begun = False
        self._left: list[int] = []
        self.failure: str | None = None
        """What the game or the bot raised, or how their process ended."""
        self.interrupted: str | None = None
        """Where the game or the bot was at work when the match had to end, and was interrupted."""
        self.lost: str | None = None
        """Why the transport broke for good, if it did."""
        self.kept_alive = 0
        """Signs of life that were sent for a busy game."""

    async def run(self) -> None:
        """Play until the match is over, or the process. Raises ``TransportError`` if the transport does not open.

        When it is cancelled, or the transport fails, the match is stopped first, which hands over the partial export.
        """
        self._player.listen(self._on_player_message, self._on_player_ended)
        if self._player.over:
            self._on_player_ended()
        self._player.send(self._begin)
        self._begun = True
        for player in self._left:
            self._player.send(Left(player))
        beside: list[asyncio.Task[None]] = []
        try:
            await self._transport.open(self._player.packet, self._on_transport_lost)
            beside.append(asyncio.create_task(self._keep_alive(), name="keep alive"))
            await asyncio.shield(self._ended)
        except BaseException:
            self.stop()
            await asyncio.shield(self._ended)
            raise
        finally:
            for task in (*beside, *((self._stopping,) if self._stopping is not None else ())):
                task.cancel()
            self._player.listen(lambda message: None, lambda: None)
            await self._transport.close(STOP_LIMIT if self._stopping is not None else FLUSH)

    def stop(self) -> None:
        """Stop playing now: partial export, goodbye to the partners. :meth:`run` returns soon. May be repeated."""
        if self._stopping is None and not self._ended.done():
            self._player.send(Stop())
            self._stopping = asyncio.create_task(self._insist())

    def player_left(self, player: int) -> None:
        """The server says that another player is gone. It may do so before the match has begun here."""
        self._left.append(player)
        if self._begun:
            self._player.send(Left(player))

    def stats(self) -> dict[str, Any]:
        """The player's newest, and the transport's."""
        connection = {**self._transport.stats(), "kept_alive": self.kept_alive, "dropped_busy": self._player.dropped}
        return {"peer": {}, "runtime": {}, **self._stats, "transport": connection}

    # -- what comes ----------------------------------------------------------------------------------------------

    def _on_player_message(self, message: ToClient) -> None:
        if type(message) is Outgoing:
            self._was_sent = True
            self._transport.send(message.destination, message.data)
        elif isinstance(message, Stats):
            self._stats = message.stats
            self._on_progress(self.stats())
        elif isinstance(message, Ended):
            self._stats = message.stats
            if message.failure is not None and message.failure.interrupted:
                self.interrupted = str(message.failure)
            elif message.failure is not None:
                self.failure = self.failure or str(message.failure)
            self._end()
        else:
            self._on_message(message)

    def _on_player_ended(self) -> None:
        if not self._ended.done():
            self.failure = self.failure or self._player.how_it_ended()
            self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _on_transport_lost(self, reason: str) -> None:
        log.info("transport lost", reason=reason)
        self.lost = reason
        if reason == GONE:
            self._player.send(Left(self._begin.start.player))
        self.stop()

    # -- what time brings ----------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """Speak for a player whose game is at work; up to the time that partners give it."""
        settings = self._begin.start.settings
        every = keep_alive(settings)
        # Rounds are counted and not seconds: a machine that slept has not been waiting for its game.
        silent, most = 0, (settings.start_timeout + 1 / settings.fps) / every
        while True:
            self._player.send(Alive())
            self._was_sent = False
            received = self._player.received
            await self._sleep(every)
            if not self._was_sent:
                self._transport.send(EVERYONE, _STILL_HERE)
                self.kept_alive += 1
            silent = silent + 1 if self._player.received == received else 0
            if silent > most and self._stopping is None:
                self.failure = f"the game was at work for more than {settings.start_timeout:g} s"
                self.stop()

    async def _insist(self) -> None:
        """A game that is at work does not hear that the match has to end."""
        await self._sleep(INTERRUPT_AFTER)
        self._player.interrupt()
        await self._sleep(KILL_AFTER)
        log.warning("the game does not let go: its process is killed, and the frames of this episode are lost")
        self._player.kill()
