"""An event loop whose time is virtual: a sleep takes none, and lasts exactly as long as it should."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits for something that will never happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code without sockets and threads."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def advance(self, seconds: float) -> None:
        """Let time pass while nothing runs, as when the process was not scheduled or a callback took long."""
        self._virtual.now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a new virtual loop. What is left over afterwards is an error."""
    loop = VirtualLoop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    try:
        result = loop.run_until_complete(main)
        assert not failures, failures
        return result
    finally:
        loop.close()


def clock() -> float:
    """The running loop's virtual time."""
    return asyncio.get_running_loop().time()


def advance(seconds: float) -> None:
    """Let time pass in the running virtual loop while nothing runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.advance(seconds)
