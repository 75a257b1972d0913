"""Child processes of ``rollgym run``: the server and the peers, each a ``rollgym`` command of its own.

They talk over a socket of their own (:mod:`rollgym.running.parent_watch`): what they or a game print goes to their log.
They never outlive this process: each ends when its socket closes, so SIGKILL of the parent ends them too. Each has a
session of its own, so that Ctrl-C in a terminal reaches the parent alone and the order in which things end is the
parent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rollgym.processes.environment import child_environment
from rollgym.processes.parent import signal_process
from rollgym.running.parent_watch import VARIABLE

Event = dict[str, Any]

_LINE_LIMIT = 1 << 24
"""Bytes of one event: the last one of a peer has the statistics of every episode."""

_DEAD_LINE = 0.5
"""Seconds in which everything is heard that a process told before it ended: it is there already."""


class Child:
    """One running command. ``on_event`` gets each event that it tells."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_event: Callable[[Event], None],
    ) -> None:
        self.name = name
        self.process = process
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._waiting: dict[str, asyncio.Future[Event]] = {}
        self._seen: dict[str, Event] = {}
        self._pump = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], log: Path, on_event: Callable[[Event], None] = lambda event: None
    ) -> Child:
        """Start ``rollgym ARGUMENTS --child``; what it logs, and whatever else is printed, goes to the file ``log``."""
        ours, theirs = socket.socketpair()
        try:
            with log.open("ab") as file:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "rollgym",
                    *arguments,
                    "--child",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env={**child_environment(), VARIABLE: str(theirs.fileno())},
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LINE_LIMIT)
        return cls(name, process, reader, writer, on_event)

    async def _read(self) -> None:
        try:
            async for line in self._reader:
                event = _parse(line)
                if event is None:
                    continue
                self._seen.setdefault(event["event"], event)
                self._on_event(event)
                waiting = self._waiting.pop(event["event"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(event)
        finally:
            for future in self._waiting.values():
                future.cancel()

    async def event(self, name: str) -> Event | None:
        """The first event of this name, or None if the process ends without it."""
        if name in self._seen:
            return self._seen[name]
        future = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        if self._pump.done():
            return None
        await asyncio.wait((future, self._pump), return_when=asyncio.FIRST_COMPLETED)
        return self._seen.get(name)

    def tell(self, line: str) -> None:
        """Give it a line. One that has ended meanwhile does not mind."""
        if not self._writer.is_closing():
            self._writer.write(line.encode() + b"\n")

    async def ended(self) -> int:
        """Wait until the process has ended and everything it told was heard. Returns its exit code."""
        code = await self.process.wait()
        # What it forked may hold its end of the line open.
        await asyncio.wait((self._pump,), timeout=_DEAD_LINE)
        self._writer.close()
        return code

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def terminate(self) -> None:
        """Ask it to end."""
        if self.running:
            signal_process(self.process, signal.SIGTERM)

    async def kill(self) -> None:
        """End it and what it started, now."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._writer.close()


def _parse(line: bytes) -> Event | None:
    """The event of a line; None for half a line, from a process that was killed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


async def end_all(children: Sequence[Child], within: float) -> None:
    """Ask all to end; what is left after ``within`` seconds is killed."""
    for child in children:
        child.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            for child in children:
                await child.ended()
    for child in children:
        if child.running:
            await child.kill()
