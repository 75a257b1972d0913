"""Worker processes: what takes long, or is code of others, is done there, and never on an event loop.

Each is a child process of its own (:mod:`rollgym.processes`) that does one piece of work at a time. It may die (a crash
in a game's C code, a kill): the work is tried once more in a new one. It may hang: over its deadline it is killed, and
the work is not tried again. Either way nobody else notices anything. If this process dies, its workers end themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import structlog

from rollgym.processes.framing import FramingError
from rollgym.processes.parent import Child
from rollgym.processes.worker_process import (
    GIBIBYTE,
    Bounds,
    OutOfMemoryError,
    WorkError,
    WorkFailedError,
    unpacked,
)

__all__ = ["OutOfMemoryError", "OverdueError", "WorkError", "WorkFailedError", "WorkerDiedError", "Workers"]

P = ParamSpec("P")
T = TypeVar("T")

PRINTED = 100
"""Lines that a piece of work may print into the log."""

COMING_UP = 120.0
"""Seconds in which a new process has to be there with what it imports. No deadline of a piece of work counts them."""

_LAST_BREATH = 5.0
# Seconds in which a process that has hung up ends by itself: it may be writing a core dump.

_TARGET = "rollgym.processes.worker_process:main"

log = structlog.get_logger("rollgym.processes.workers")


class WorkerDiedError(Exception):
    """A piece of work killed every worker that tried it, or there was none to be had."""


class OverdueError(WorkError):
    """A piece of work took longer than its deadline. Its worker was killed."""


class Workers:
    """A pool of processes with a fresh interpreter each: no locks or sockets of ours are inherited.

    Its own side runs in a thread, so that the pool belongs to no event loop: awaiting :meth:`run` never blocks.
    """

    def __init__(
        self, processes: int, *, seconds: float | None = None, memory: float | None = None, tries: int = 2
    ) -> None:
        """``seconds``: deadline of a piece of work, from when it is begun. ``memory``: GiB a process may take."""
        self._processes = processes
        self._seconds = seconds
        self._bounds = Bounds(memory)
        self._tries = tries
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._running: set[asyncio.Task[Any]] = set()
        self._modules: tuple[str, ...] | None = None
        self._trouble: str | None = None
        self.deaths = 0
        """Workers that ended unasked."""
        self.killed = 0
        """Workers that were ended over a deadline."""

    async def start(self, *modules: str) -> None:
        """Start the processes and let them import these modules, so that the first piece of work does not wait for it.

        From now on every new one does so before its first piece of work. Raises like :meth:`run`.
        """
        self._modules = modules
        await asyncio.gather(*(self._submit(COMING_UP, _warm, modules, {}) for _ in range(self._processes)))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``work(*args)`` in a worker; what it raises is raised here.

        Raises :class:`WorkerDiedError`, and :class:`WorkError` for what came to no end: :class:`OverdueError`,
        :class:`OutOfMemoryError`, :class:`WorkFailedError` for exceptions that are not ours.
        """
        return await self._submit(self._seconds, work, args, kwargs)

    async def run_within(self, seconds: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """:meth:`run` with a deadline of its own."""
        return await self._submit(seconds, work, args, kwargs)

    def health(self) -> str | None:
        """None if the last piece of work found a worker, else what is wrong."""
        return "the workers are closed" if self._closed else self._trouble

    def close(self) -> None:
        """End the processes, whatever they are doing: their files only count once they are renamed."""
        self._closed = True
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(self._end_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _submit(
        self, seconds: float | None, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        if self._closed:
            raise WorkerDiedError("the server is stopping")
        running: Coroutine[Any, Any, T] = self._run(seconds, work, args, kwargs)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(running, self._started()))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.SelectorEventLoop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="workers", daemon=True)
            self._thread.start()
        return self._loop

    # --- in the thread ------------------------------------------------------------------------------------------

    async def _run(
        self, seconds: float | None, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await self._tried(seconds, work, args, kwargs)
        except asyncio.CancelledError:
            if self._closed:  # whoever waits for it was not cancelled
                raise WorkerDiedError("the server is stopping") from None
            raise
        finally:
            self._running.discard(task)

    async def _tried(
        self, seconds: float | None, work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        message = pickle.dumps((work, args, kwargs))
        endings = []
        async with self._slots:
            for _ in range(self._tries):
                worker = await self._get()
                try:
                    there = worker.warm or self._modules is None or await worker.comes_up(self._modules)
                    answer = await worker.ask(message, seconds) if there else None
                except TimeoutError:
                    await self._discard(worker)
                    self.killed += 1
                    log.warning("worker_killed", work=work.__name__, seconds=seconds, killed=self.killed)
                    raise OverdueError(f"took longer than {seconds:g} seconds, and was ended") from None
                except BaseException:  # cancelled: nobody waits for the answer any more
                    await self._discard(worker)
                    raise
                if answer is not None:
                    value: T = await self._unpacked(worker, answer)
                    return value
                ending = await self._discard(worker, dying=True)
                self._died(work.__name__, ending)
                endings.append(ending)
            self._trouble = f"{work.__name__}: {self._tries} workers died of it: {endings[-1]}"
            raise WorkerDiedError(self._trouble)

    async def _unpacked(self, worker: _Worker, answer: bytes) -> Any:
        self._trouble = None
        good, value = unpacked(answer)
        if isinstance(value, OutOfMemoryError):
            await self._discard(worker)  # what it holds on to is not known
        else:
            self._idle.append(worker)
        if not good:
            raise value
        return value

    async def _get(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.child.running:
                return worker
            self._died("nothing", await self._discard(worker))
        try:
            worker = await _Worker.start(self._bounds)
        except OSError as error:
            self._trouble = f"no worker can be started: {error}"
            raise WorkerDiedError(self._trouble) from error
        self._all.add(worker)
        return worker

    def _died(self, work: str, ending: str) -> None:
        if not self._closed:
            self.deaths += 1
            log.warning("worker_died", work=work, ending=ending, deaths=self.deaths)

    async def _discard(self, worker: _Worker, *, dying: bool = False) -> str:
        self._all.discard(worker)
        return await worker.end(dying=dying)

    async def _end_all(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.gather(*(self._discard(worker) for worker in list(self._all)))


class _Worker:
    """One process, and what it prints."""

    def __init__(self) -> None:
        self.child: Child
        self.warm = False
        """It has imported what work needs."""
        self._printed = 0

    @classmethod
    async def start(cls, bounds: Bounds) -> _Worker:
        worker = cls()
        worker.child = await Child.start(_TARGET, on_output=worker._heard)
        worker.child.send(pickle.dumps(bounds))
        return worker

    async def comes_up(self, modules: tuple[str, ...]) -> bool:
        """Whether it is there, with what it imports."""
        with contextlib.suppress(TimeoutError):
            self.warm = await self.ask(pickle.dumps((_warm, modules, {})), COMING_UP) is not None
        return self.warm

    async def ask(self, message: bytes, seconds: float | None) -> bytes | None:
        """Its answer; None if it died. Raises ``TimeoutError``."""
        self._printed = 0
        self.child.send(message)
        try:
            async with asyncio.timeout(seconds):
                return await self.child.receive()
        except FramingError:
            return None

    async def end(self, *, dying: bool = False) -> str:
        """End the process and what it started. How it ended, and the last that it printed.

        One that is ``dying`` may do so by itself: else how it ended would be our doing.
        """
        if dying:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.child.ended(), _LAST_BREATH)
        if self.child.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)  # it leads a session of its own
            self.child.kill()  # and a game may have left that
        self.child.hang_up()
        ending = await self.child.ended()
        last = [line for line in ending.tail if line.strip()][-1:]
        return ": ".join([str(ending), *last])[:500]

    def _heard(self, text: str) -> None:
        self._printed += 1
        if self._printed <= PRINTED:
            log.info("worker_printed", text=text)
        elif self._printed == PRINTED + 1:
            log.info("worker_printed", text=f"(more than {PRINTED} lines: the rest is left out)")


def machine_memory() -> float | None:
    """GiB that this machine has, or that its container may take; None if the system does not say."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError):
        found = []
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # another system, or "max": no limit
            found.append(int(Path(limit).read_text()))
    return min(found) / GIBIBYTE if found else None


def _warm(*modules: str) -> int:
    for module in modules:
        import_module(module)
    return os.getpid()
