"""An SQLite file with one writer thread, which nothing that SQLite does may end.

WAL with ``synchronous=FULL``: what a call returned from has reached the disk. Calls that arrive while a commit is
running share the next one, so that many small transactions cost few syncs.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import structlog

from rollgym.server.errors import ServerError
from rollgym.server.storage.schema import bring_up_to_date

T = TypeVar("T")

BUSY = 2.0
"""Seconds that SQLite waits for a lock that another program holds, before a call fails. Whoever called tries again."""

WAY_OUT = "rollgym catalogue rebuild"

log = structlog.get_logger("rollgym.server.storage.catalogue")


class Stopped(Exception):
    """The catalogue was closed while the call waited. What it asked for was not done."""


class CatalogueGoneError(sqlite3.OperationalError):
    """The writer thread has ended: nothing can be asked any more."""

    def __init__(self) -> None:
        super().__init__("the catalogue's thread has ended: restart the server")


class DamagedError(ServerError):
    """The file is no catalogue, or a page of it cannot be read."""


def busy(error: sqlite3.Error) -> bool:
    """Whether another program holds the catalogue's lock: it is free again after a while."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def full(error: sqlite3.Error) -> bool:
    """Whether there is no room on the disk."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are durable. Raises ``sqlite3.Error``."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def open_checked(path: Path) -> sqlite3.Connection:
    """A connection to a catalogue of the present version, every page of which can be read.

    Raises :class:`DamagedError` with the way out, and :class:`ServerError` with any other reason.
    """
    try:
        connection = connect(path)
        try:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            if found != ["ok"]:
                raise damaged(path, str(found[0]).splitlines()[-1])
            bring_up_to_date(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise refused_at_start(path, error) from error
    except ServerError as error:
        raise error if isinstance(error, DamagedError) else ServerError(f"catalogue {path}: {error}") from error
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether what is in the file is not what SQLite wrote."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def refused_at_start(path: Path, error: sqlite3.Error) -> ServerError:
    """One sentence for who started the server."""
    if is_damage(error):
        return damaged(path, str(error))
    hint = "; another program has it open, close that" if busy(error) else ""
    return ServerError(f"catalogue {path}: {error}{hint}")


def damaged(path: Path, reason: str) -> DamagedError:
    """What to say, and the way out."""
    return DamagedError(
        f"catalogue {path}: {reason}; the episodes are files of their own, and {WAY_OUT} {path.parent}"
        " makes it anew from them"
    )


class _Call(Generic[T]):
    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class Database:
    """Calls on one file. They run in order in one thread; awaiting one never blocks the event loop."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises :class:`ServerError` if it is not usable."""
        self._path = path
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._gate = threading.Lock()
        # Held by whoever puts a call into the queue, so that none comes in after the last look at it.
        self._closed = self._gone = False
        self._trouble: str | None = None
        self._batch: list[_Call[Any]] = []
        self._connection: sqlite3.Connection | None = open_checked(path)
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is there, however the file is."""
        return not self._gone

    @property
    def healthy(self) -> bool:
        """Whether the thread is there and its last commit succeeded."""
        return not self._gone and not self._closed and self._trouble is None

    async def health(self) -> str | None:
        """None if a call succeeds now, else why not. Asks the file itself: another program may hold it."""
        try:
            await self.call(lambda db: db.execute("SELECT 1").fetchone())
        except Stopped:
            return "the catalogue is closed"
        except sqlite3.Error as error:
            return f"the catalogue: {error}"
        return None

    def close(self) -> None:
        """Finish what was asked for, then close the file. Blocks for as long as that takes."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._calls.put(None)
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction of the thread, and give what it returned once that is durable.

        What it raises is raised here, and nothing of it was done. Raises ``sqlite3.Error`` as well if the file refuses,
        and :class:`Stopped`.
        """
        call = _Call(work)
        with self._gate:
            if self._closed:
                raise Stopped
            if self._gone:
                raise CatalogueGoneError
            self._calls.put(call)
        # Shielded: a cancelled waiter must not mark the future cancelled under the thread's hands.
        return await asyncio.shield(asyncio.wrap_future(call.future))

    # --- the writer thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            with self._gate:
                self._gone = True
            left = [call for call in self._batch if not call.future.done()]
            while not self._calls.empty():
                call = self._calls.get()
                if call is not None:
                    left.append(call)
            for call in left:
                call.future.set_exception(CatalogueGoneError())

    def _turn(self) -> bool:
        """Do what is asked for; wait for it if it is nothing. False at the end."""
        asked = [self._calls.get()]
        while not self._calls.empty():
            asked.append(self._calls.get())
        self._batch = [call for call in asked if call is not None]
        if self._batch:
            self._commit(self._batch)
        return len(self._batch) == len(asked)

    def _commit(self, calls: list[_Call[Any]]) -> None:
        """Run all calls in one transaction; one that fails is undone alone. Answers after the commit."""
        done: list[tuple[_Call[Any], Any]] = []
        failed: list[tuple[_Call[Any], Exception]] = []
        try:
            db = self._opened()
            db.execute("BEGIN IMMEDIATE")
            for call in calls:
                db.execute("SAVEPOINT one")
                try:
                    done.append((call, call.work(db)))
                except Exception as error:
                    if not db.in_transaction:
                        raise  # SQLite gave the whole transaction up (full disk, say)
                    db.execute("ROLLBACK TO one")
                    failed.append((call, error))
                db.execute("RELEASE one")
            db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to all who share this commit
            self._trouble = str(error)
            self._undo()
            for call in calls:
                call.future.set_exception(error)
            return
        self._trouble = None
        for call, result in done:
            call.future.set_result(result)
        for call, reason in failed:
            call.future.set_exception(reason)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            log.warning("catalogue_reopened")
        return self._connection

    def _undo(self) -> None:
        """Leave the transaction. If even that fails the connection is given up: the next call opens a new one."""
        db = self._connection
        if db is None:
            return
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("catalogue_rollback_failed", error=str(error))
            self._connection = None
            with contextlib.suppress(sqlite3.Error):  # what was not committed is undone by whoever opens the file next
                db.close()
