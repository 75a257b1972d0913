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
from rollgym.server.storage.errors import (
    CatalogueError,
    CatalogueGoneError,
    DamagedError,
    Kind,
    Stopped,
    damaged,
    refused_at_start,
)
from rollgym.server.storage.sqlite.schema import bring_up_to_date

T = TypeVar("T")

BUSY = 2.0
"""Seconds that SQLite waits for a lock that another program holds, before a call fails. Whoever called tries again."""

log = structlog.get_logger("rollgym.server.storage.sqlite")


_KINDS: dict[int, Kind] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}


def translated(error: sqlite3.Error) -> CatalogueError:
    """What SQLite says, in the words of a catalogue."""
    kind = _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "refused")
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_UNIQUE and "match.number" in str(error):
        kind = "taken"
    return CatalogueError(str(error), kind, final=isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError))


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
        raise refused_at_start(path, translated(error)) from error
    except ServerError as error:
        raise error if isinstance(error, DamagedError) else ServerError(f"catalogue {path}: {error}") from error
    return connection


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
        self._batch: list[_Call[Any]] = []
        self._connection: sqlite3.Connection | None = open_checked(path)
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        return str(self._path)

    @property
    def alive(self) -> bool:
        """Whether the thread is there, however the file is."""
        return not self._gone

    async def health(self) -> str | None:
        """None if a call succeeds now, else why not. Asks the file itself: another program may hold it."""
        try:
            await self.call(lambda db: db.execute("SELECT 1").fetchone())
        except Stopped:
            return "the catalogue is closed"
        except CatalogueError as error:
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

        What it raises is raised here, and nothing of it was done. Raises :class:`CatalogueError` if the file refuses,
        and :class:`Stopped`.
        """
        call = _Call(work)
        with self._gate:
            if self._closed:
                raise Stopped
            if self._gone:
                raise CatalogueGoneError
            self._calls.put(call)
        try:
            # Shielded: a cancelled waiter must not mark the future cancelled under the thread's hands.
            return await asyncio.shield(asyncio.wrap_future(call.future))
        except sqlite3.Error as error:
            raise translated(error) from error

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
            self._undo()
            for call in calls:
                call.future.set_exception(error)
            return
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
