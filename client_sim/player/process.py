"""The client's end of a player process (:mod:`rollgym.client_sim.player.player`)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import msgspec
import structlog

from rollgym.client_sim.player.messages import (
    Arrived,
    Failure,
    Outgoing,
    Prepare,
    Ready,
    ToClient,
    ToPlayer,
    pack,
    parse_to_client,
)
from rollgym.processes.framing import FramingError
from rollgym.processes.parent import Child, Ending
from rollgym.protocol.messages import GameIdentity

log = structlog.get_logger(__name__)

LINES_LOGGED = 1000
"""Lines that a game prints and that are logged. One that prints with every frame must not fill the disk; its last
lines are remembered anyhow."""

UNREAD_BOUND = 4 << 20
"""Bytes that a busy player process has not read, above which further packets of others are dropped, as a network would:
their inputs come again. Ordinary play is some 20 KiB a second."""


class PlayerFailed(Exception):
    """The game, the bot, or the process in which they run has failed. The text says what happened, and where."""


class PlayerProcess:
    """One player process, from its start to its end."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._on_message: Callable[[ToClient], None] = lambda message: None
        self._on_end: Callable[[], None] = lambda: None
        self._ready: asyncio.Future[GameIdentity] = asyncio.get_running_loop().create_future()
        self.received = 0
        """Messages and packets of the process so far. While it grows, nothing in there takes long."""
        self.dropped = 0
        """Packets that the process was too busy to take."""
        self.ending: Ending | None = None
        self._reading = asyncio.create_task(self._read(), name="player process")

    @classmethod
    async def start(cls, plan: Prepare) -> PlayerProcess:
        """Start one and let it make its game. Raises ``OSError`` if the system starts no process."""
        child = await Child.start("rollgym.client_sim.player.player:main", on_output=Printed())
        child.send(pack(plan))
        return cls(child)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def over(self) -> bool:
        """The process has ended, and everything it said was heard."""
        return self._reading.done()

    async def ready(self) -> GameIdentity:
        """Wait until the game is made; what it is. Raises :class:`PlayerFailed`."""
        return await asyncio.shield(self._ready)

    def listen(self, on_message: Callable[[ToClient], None], on_end: Callable[[], None]) -> None:
        """From now on ``on_message`` gets what the process says, and ``on_end`` is called when it has ended."""
        self._on_message, self._on_end = on_message, on_end

    def send(self, message: ToPlayer) -> None:
        """Never blocks; a process that has ended does not mind."""
        self._child.send(pack(message))

    def packet(self, source: int, data: bytes, at: float) -> None:
        """Hand on a packet of another player, or drop it if the process has not read too much already."""
        if self._child.unread > UNREAD_BOUND:
            self.dropped += 1
            return
        self._child.send(pack(Arrived(source, data, at)))

    def interrupt(self) -> None:
        """Cut short what the game is doing, as Ctrl-C does."""
        self._child.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it now."""
        self._child.kill()

    async def close(self, within: float) -> None:
        """Hang up; what has not ended within some seconds is killed."""
        if self._child.running:
            self._child.hang_up()
            await asyncio.wait((self._reading,), timeout=within)
        await self._child.close()
        await asyncio.wait((self._reading,))
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # whoever did not ask does not want to know
        self._ready.cancel()

    def how_it_ended(self) -> str:
        """For people; with the last lines that it printed."""
        ending = self.ending
        if ending is None:
            return "the player process is there"
        printed = [line for line in ending.tail if line.strip()][-5:]
        return f"the player process is gone: {ending}" + "".join(f"\n  {line}" for line in printed)

    async def _read(self) -> None:
        try:
            while (raw := await self._child.receive()) is not None:
                self.received += 1
                self._take(parse_to_client(raw))
        except (FramingError, msgspec.MsgspecError, IndexError) as error:
            # Only a game that writes to descriptors that are not its own can do this.
            log.error("the player process says what is no message", error=str(error))
            self._child.kill()
        self.ending = await self._child.ended()
        if not self._ready.done():
            self._ready.set_exception(PlayerFailed(self.how_it_ended()))
        self._on_end()

    def _take(self, message: ToClient) -> None:
        if type(message) is Outgoing:
            self._on_message(message)
        elif isinstance(message, Ready):
            self._ready.set_result(message.game)
        elif isinstance(message, Failure):
            self._ready.set_exception(PlayerFailed(str(message)))
        else:
            self._on_message(message)


class Printed:
    """Logs what a game prints, line by line, up to :data:`LINES_LOGGED`."""

    def __init__(self) -> None:
        self._lines = 0

    def __call__(self, line: str) -> None:
        self._lines += 1
        if self._lines <= LINES_LOGGED:
            log.info("printed", text=line)
        elif self._lines == LINES_LOGGED + 1:
            log.warning("what the game prints from here on is not logged", lines=LINES_LOGGED)
