"""What libraries say in Python's own log, in ours: one event, one line.

Whoever can reach the port can send bytes that are no HTTP. That is worth one short line, and not one for each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import structlog
from aiohttp.http_exceptions import HttpProcessingError

_PAUSE = 1.0
# Seconds between two lines about requests that are none.

_SHOWN = 200
# Characters of what is wrong with one.

log = structlog.get_logger("rollgym.server.library")


class Bridge(logging.Handler):
    """Hands on what is logged by libraries. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._next = float("-inf")
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            error = record.exc_info[1] if record.exc_info else None
            if isinstance(error, HttpProcessingError):
                self._not_http(error, record)
            else:
                level = logging.WARNING if record.levelno < logging.ERROR else logging.ERROR
                log.log(level, "library", name=record.name, message=record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - what a handler raises would fall to whoever has logged something
            self.handleError(record)

    def _not_http(self, error: HttpProcessingError, record: logging.LogRecord) -> None:
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return
        remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
        text = " ".join(str(error).split())[:_SHOWN]
        log.info("not_http", remote=str(remote), error=text, others=self._left_out)
        self._next, self._left_out = now + _PAUSE, 0


def adopt() -> None:
    """Take over Python's root logger. It prints to stderr by itself otherwise, tracebacks and all."""
    root = logging.getLogger()
    root.handlers = [Bridge()]
