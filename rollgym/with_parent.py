"""What a child process of ``rollgym run`` and its parent say to each other: events up, the end of the pipe down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

LAST_WORD = 2.5
"""Seconds a child has to end well after its parent died, before it ends at once."""


def emit(event: str, **fields: Any) -> None:
    """One event as a line of JSON on stdout."""
    line = json.dumps({"event": event, **fields})
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; end_with_parent() acts on that
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def line_from_parent() -> str:
    """What the parent tells us to go on with. Ends the process if the parent is gone."""
    text = b""
    while not text.endswith(b"\n"):
        part = os.read(0, 1)  # no more than the line: the rest is end_with_parent()'s
        if not part:
            raise SystemExit(1)
        text += part
    return text.decode().strip()


def end_with_parent() -> None:
    """End this process when its parent ends, however that came about.

    The parent holds the other end of our stdin; the system closes it when the parent dies, by SIGKILL too. Works on
    every POSIX system, unlike a parent-death signal.
    """

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_WORD)
        os._exit(1)

    threading.Thread(target=watch, name="with-parent", daemon=True).start()
