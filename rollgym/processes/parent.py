"""A parent's end: start a child process, talk with it, hear what it prints, and know when and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from rollgym.processes.environment import child_environment
from rollgym.processes.framing import HEADER, framed, length

LINE = 4096
"""Characters of printed text that are handed on at once; a longer line comes in pieces."""

TAIL = 40
"""Lines of printed text that are remembered, for whoever has to say why a child died."""

_START = "from rollgym.processes.bootstrap import main; main()"


class Ending(NamedTuple):
    """How a child ended."""

    code: int
    """Exit code; ``-number`` for a signal, as subprocess has it."""
    tail: tuple[str, ...]
    """The last lines it printed."""

    def __str__(self) -> str:
        if self.code >= 0:
            return f"it ended with code {self.code}"
        try:
            return f"it was ended by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"it was ended by signal {-self.code}"


def signal_process(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process of asyncio's, which may have ended meanwhile.

    Its own ``send_signal`` looks first whether the process has ended, and takes how it ended away from the event loop,
    which then reports 255.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


class Child:
    """One child process. Owned by the event loop that started it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lifeline: int,
        on_output: Callable[[str], None],
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._lifeline: int | None = lifeline
        self._on_output = on_output
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._output = asyncio.create_task(self._read_output())
        self._ending: asyncio.Task[Ending] = asyncio.create_task(self._end())

    @classmethod
    async def start(
        cls, target: str, *, on_output: Callable[[str], None] = lambda text: None, new_session: bool = True
    ) -> Child:
        """Start a fresh interpreter that calls ``target`` (``module:function``) with its ``Channel``.

        ``on_output`` gets each line that the process prints, on stdout or stderr. ``new_session``: Ctrl-C in a
        terminal reaches this process only. Raises ``OSError`` if the system starts no process.
        """
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the current folder is no place to import from: it may hold a random.py
                "-u",
                "-c",
                _START,
                str(theirs.fileno()),
                str(read_end),
                target,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(), read_end),
                start_new_session=new_session,
                env=child_environment(),
            )
        except BaseException:
            ours.close()
            os.close(write_end)
            raise
        finally:
            theirs.close()
            os.close(read_end)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)
        child = cls(process, reader, writer, write_end, on_output)
        child.send(json.dumps(sys.path).encode())
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def unread(self) -> int:
        """Bytes of messages that the child has not read, beyond what the system holds for it."""
        return self._writer.transport.get_write_buffer_size()

    def send(self, message: bytes) -> None:
        """Hand over one message. A child that has ended meanwhile does not mind. Never blocks."""
        if not self._writer.is_closing():
            self._writer.write(framed(message))

    async def drain(self) -> None:
        """Wait until the child has read most of what it was sent."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> bytes | None:
        """The next message of the child; None once it has hung up or ended. Raises ``FramingError``.

        Not to be cancelled halfway by anybody who wants to receive again.
        """
        try:
            header = await self._reader.readexactly(HEADER)
            return await self._reader.readexactly(length(header))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def ended(self) -> Ending:
        """Wait until the process has ended and everything it printed was heard."""
        return await asyncio.shield(self._ending)

    def hang_up(self) -> None:
        """Let it see that nobody listens any more: it ends by itself, within ``bootstrap.LAST_WORD``."""
        self._writer.close()
        self._let_go()

    def terminate(self) -> None:
        """Ask it to end: SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now: SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def close(self) -> Ending:
        """End it now, and let go of everything."""
        self.kill()
        self._writer.close()
        return await self.ended()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.running:
            signal_process(self._process, number)

    def _let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    async def _end(self) -> Ending:
        code = await self._process.wait()
        # What it started may hold its output open for ever.
        await asyncio.wait((self._output,), timeout=0.5)
        self._output.cancel()
        self._let_go()
        self._writer.close()
        return Ending(code, tuple(self._tail))

    async def _read_output(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        text = b""
        while piece := await stdout.read(1 << 16):
            *lines, text = (text + piece).split(b"\n")
            for line in lines:
                self._heard(line)
            while len(text) >= LINE:
                self._heard(text[:LINE])
                text = text[LINE:]
        if text:
            self._heard(text)

    def _heard(self, line: bytes) -> None:
        for start in range(0, max(1, len(line)), LINE):
            text = line[start : start + LINE].decode("utf-8", "backslashreplace").rstrip("\r")
            self._tail.append(text)
            self._on_output(text)
