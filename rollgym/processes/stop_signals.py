"""Signals that ask a command to end, as an event in its loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """While in this context, Ctrl-C, SIGTERM and a terminal that goes away set ``stop`` and do not end the process.

    A process that ignores SIGHUP, as ``nohup`` starts it, goes on doing so. To be entered in the main thread, where
    the event loop runs.
    """
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
