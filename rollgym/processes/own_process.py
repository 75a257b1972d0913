"""Games in a process that is to say what became of them: a command with its exit code, a player with its record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def not_to_be_ended() -> Iterator[None]:
    """While in this context ``os._exit`` raises ``SystemExit`` in this process, which is the failure of a game as any.

    What a game forks ends by it as ever.
    """
    end, process = os._exit, os.getpid()

    def refused(status: int) -> NoReturn:
        if os.getpid() != process:
            end(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refused
    try:
        yield
    finally:
        os._exit = end
