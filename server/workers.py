"""Worker processes: they decode uploads and re-simulate episodes, so that the event loop never does.

A worker may die (out of memory, a crash in a game's C code, a kill): the work it had is tried once more in a new
one, and everybody else notices nothing. If this process dies, its workers end themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
T = TypeVar("T")

if sys.platform == "linux":
    import resource

MEMORY_BYTES = 4 << 30
"""Address space of a worker process. On Linux only."""

log = structlog.get_logger("rollgym.server.workers")


class WorkerDiedError(Exception):
    """A piece of work killed every worker that tried it."""


class Workers:
    """A pool of processes with a fresh interpreter each (``spawn``: no locks or sockets of ours are inherited)."""

    def __init__(self, processes: int, *, tries: int = 2) -> None:
        self._processes = processes
        self._tries = tries
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False
        self.deaths = 0

    async def start(self) -> None:
        """Start the processes and let them import what they need, so that the first upload does not wait for it."""
        await asyncio.gather(*(self.run(_warm) for _ in range(self._processes)))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``work(*args)`` in a worker; what it raises is raised here. Raises :class:`WorkerDiedError`."""
        for _ in range(self._tries):
            pool = self._get()
            try:
                return await asyncio.wrap_future(pool.submit(work, *args, **kwargs))
            except BrokenProcessPool:
                self._discard(pool)
        raise WorkerDiedError(f"{work.__name__}: {self._tries} workers died of it")

    def close(self) -> None:
        """End the processes, whatever they are doing: their files only count once they are renamed."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            self._end(pool)

    def _get(self) -> ProcessPoolExecutor:
        if self._closed:
            raise WorkerDiedError("the server is stopping")
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, multiprocessing.get_context("spawn"), initializer=_prepare_worker
            )
        return self._pool

    def _discard(self, pool: ProcessPoolExecutor) -> None:
        if pool is not self._pool:
            return  # somebody else's work found out first
        self._pool = None
        if not self._closed:
            self.deaths += 1
            log.warning("worker_died", deaths=self.deaths)
        self._end(pool)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        # Python 3.14 has kill_workers() for this; before that, only the private table knows the processes.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(ProcessLookupError, ValueError):  # gone, or closed by the pool, already
                process.kill()


def _prepare_worker() -> None:
    if sys.platform == "linux":  # a worker that wants more dies of MemoryError alone, before the machine does
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server ends its workers itself
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _warm() -> int:
    import rollgym.server.checks
    import rollgym.server.judge  # noqa: F401 - imported for its effect: pyarrow and gymnasium are loaded

    return os.getpid()
