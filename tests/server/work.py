"""Work for worker processes: of the kinds that the code of others does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time


class StrangeError(Exception):
    """Of a class that the server never imports."""


def raise_strange() -> None:
    raise StrangeError("of a game")


def raise_holding_strange() -> None:
    raise ValueError("plain", StrangeError("inside"))


def return_strange() -> object:
    return StrangeError("as a value")


def leave() -> None:
    sys.exit(3)


def die(marker: str = "") -> str:
    """Kill the process; with a marker's path only the first time."""
    if marker:
        try:
            with open(marker, "x"):  # noqa: PTH123 - made by whoever comes first
                pass
        except FileExistsError:
            return "alive"
    print("about to die")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def hang(marker: str) -> None:
    """Never return."""
    with open(marker, "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    while True:
        time.sleep(3600)


def ignore_and_hang(marker: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(marker)


def chatter(lines: int) -> None:
    for number in range(lines):
        print(f"line {number}")
    print("half a line", end="", flush=True)


def event_loop() -> bool:
    """What games do of which they think that the process is theirs."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    async def nothing() -> bool:
        await asyncio.sleep(0)
        return threading.current_thread() is threading.main_thread()

    return asyncio.run(nothing())


def take(mebibytes: int) -> str:
    return f"{len(bytearray(mebibytes << 20))} bytes"


def square(value: int) -> int:
    return value * value
