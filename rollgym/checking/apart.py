"""A child process for who has no event loop: talk with it in messages, and know how it ended and what it printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from rollgym.processes.channel import Channel, ChannelClosed
from rollgym.processes.parent import Ending

_START = "from rollgym.processes.bootstrap import main; main()"
_HEAD, _TAIL = 1 << 16, 1 << 16
# Bytes of what it printed that are read back.
_QUIET = {"PYGAME_HIDE_SUPPORT_PROMPT": "1"}


class Apart:
    """One child process that calls a function of ours with a :class:`~rollgym.processes.channel.Channel`.

    What it prints, by whatever means, goes to files that nobody else sees.
    """

    def __init__(self, target: str, environment: Mapping[str, str] | None = None) -> None:
        """``target`` is ``module:function``. ``environment`` is set beside ours. Raises ``OSError``."""
        ours, theirs = socket.socketpair()
        read_end, self._lifeline = os.pipe()
        # They live as long as the process.
        self._printed, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-P", "-u", "-c", _START, str(theirs.fileno()), str(read_end), target],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._errors,
                pass_fds=(theirs.fileno(), read_end),
                start_new_session=True,
                env={**os.environ, **_QUIET, "PYTHONPATH": _path(), **(environment or {})},
            )
        except BaseException:
            ours.close()
            os.close(self._lifeline)
            self._printed.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
            os.close(read_end)
        self._channel = Channel(ours)
        self.send(json.dumps(sys.path).encode())

    def send(self, message: bytes) -> None:
        """Hand over a message. A child that has ended meanwhile does not mind."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send(message)

    def receive(self, timeout: float | None = None) -> bytes | None:
        """The next message, None after ``timeout`` seconds without one. Raises
        :class:`~rollgym.processes.channel.ChannelClosed` when it has hung up or ended."""
        return self._channel.receive(timeout)

    def ending(self) -> Ending:
        """Wait until it has ended. How it did, and the last lines that it printed, those on stderr at the end."""
        code = self._process.wait()
        return Ending(code, tuple([*self.printed(), *_lines(self._errors)][-40:]))

    def printed(self) -> list[str]:
        """The lines that it printed on stdout: the first ones, and the last ones if there are very many."""
        return _lines(self._printed)

    def close(self) -> None:
        """End it now, and what it has started, and let go of everything."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._channel.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        self._printed.close()
        self._errors.close()


def _lines(file: IO[bytes]) -> list[str]:
    size = os.fstat(file.fileno()).st_size
    data = os.pread(file.fileno(), _HEAD, 0)
    if size > _HEAD:
        data += b"\n" + os.pread(file.fileno(), _TAIL, max(_HEAD, size - _TAIL))
    return [line for line in data.decode("utf-8", "backslashreplace").splitlines() if line.strip()]


def _path() -> str:
    """Ours, and the folder that this very package came from, in case it is not installed."""
    folder = str(Path(__file__).parents[2])
    before = os.environ.get("PYTHONPATH")
    return f"{folder}{os.pathsep}{before}" if before else folder
