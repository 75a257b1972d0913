"""What a child process of ``rollgym run`` and its parent say to each other: events up, lines down.

They have a socket of their own for that. Stdout belongs to whoever prints, and is the child's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import threading
import time
from typing import Any

VARIABLE = "ROLLGYM_PARENT"
"""Environment variable with the number of the socket's descriptor."""

LAST_WORD = 15.0
"""Seconds a child has to end well after its parent died, before it ends at once."""


def emit(event: str, **fields: Any) -> None:
    """One event as a line of JSON."""
    line = json.dumps({"event": event, **fields})
    with contextlib.suppress(OSError):  # the parent is gone; end_with_parent() acts on that
        _line().sendall(line.encode() + b"\n")


async def line_from_parent() -> str:
    """What the parent tells us to go on with. Ends the process if the parent is gone."""
    line = _line()
    line.setblocking(False)
    text = b""
    while not text.endswith(b"\n"):
        # No more than the line: the rest is end_with_parent()'s.
        part = await asyncio.get_running_loop().sock_recv(line, 1)
        if not part:
            raise SystemExit(1)
        text += part
    line.setblocking(True)
    return text.decode().strip()


def end_with_parent() -> None:
    """End this process when its parent ends, however that came about.

    The parent holds the other end of the socket; the system closes it when the parent dies, by SIGKILL too. Works on
    every POSIX system, unlike a parent-death signal.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while _line().recv(4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_WORD)
        os._exit(1)

    threading.Thread(target=watch, name="with-parent", daemon=True).start()


@functools.cache
def _line() -> socket.socket:
    """The socket. What we start does not find it any more."""
    number = int(os.environ.pop(VARIABLE))
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)
