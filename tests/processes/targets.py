"""What the children of these tests do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

from rollgym.processes.channel import Channel


def echo(channel: Channel) -> None:
    while True:
        message = channel.receive()
        assert message is not None
        channel.send(message)


def noisy(channel: Channel) -> None:
    os.write(1, b"to stdout\nno newline" + b"x" * 10_000)
    print("to stderr", file=sys.stderr)
    sys.stdout.write("last words without a newline")
    channel.send(b"done")


def forking(channel: Channel) -> None:
    """As a game does whose child comes back to us."""
    child = os.fork()
    if child == 0:
        channel.send(b"an answer of somebody else")
        os._exit(0)
    channel.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    channel.send(b"done")


def failing(channel: Channel) -> None:
    raise RuntimeError("this is why")


def surroundings(channel: Channel) -> None:
    """An event loop, a signal handler and the main thread are as in any program."""

    async def nothing() -> str:
        return "ran"

    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    main = threading.current_thread() is threading.main_thread()
    channel.send(f"{asyncio.run(nothing())} {main} {str(Path.cwd()) in sys.path}".encode())


def deaf(channel: Channel) -> None:
    channel.send(b"here")
    while True:
        time.sleep(60)
