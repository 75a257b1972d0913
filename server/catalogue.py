"""The catalogue: which matches there were, what was received and what became of it. SQLite in one writer thread.

WAL with ``synchronous=FULL``: what a call returned from has reached the disk. Calls that arrive while a commit is
running share the next one, so many small transactions cost few syncs.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.server.errors import ServerError

T = TypeVar("T")

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE match (
    id TEXT PRIMARY KEY, experiment TEXT NOT NULL, condition TEXT NOT NULL, config_hash TEXT NOT NULL,
    seed INTEGER NOT NULL, game BLOB NOT NULL, settings BLOB NOT NULL,
    created REAL NOT NULL, ended REAL, reason TEXT
) STRICT;
CREATE TABLE player (
    match TEXT NOT NULL REFERENCES match, player INTEGER NOT NULL, participant TEXT NOT NULL,
    software BLOB NOT NULL, ticket_hash BLOB NOT NULL UNIQUE, left_at REAL, left_reason TEXT,
    PRIMARY KEY (match, player)
) STRICT;
CREATE TABLE upload (
    match TEXT NOT NULL, episode INTEGER NOT NULL, player INTEGER NOT NULL,
    body_hash BLOB NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL, frames INTEGER NOT NULL,
    status TEXT NOT NULL, received REAL NOT NULL,
    PRIMARY KEY (match, episode, player), FOREIGN KEY (match, player) REFERENCES player (match, player)
) STRICT;
CREATE TABLE conflict (
    match TEXT NOT NULL, episode INTEGER NOT NULL, player INTEGER NOT NULL,
    body_hash BLOB NOT NULL, bytes INTEGER NOT NULL, received REAL NOT NULL
) STRICT;
CREATE TABLE episode (
    match TEXT NOT NULL REFERENCES match, episode INTEGER NOT NULL,
    verdict TEXT NOT NULL, detail TEXT NOT NULL, players BLOB NOT NULL, frames INTEGER NOT NULL,
    status TEXT NOT NULL, seed INTEGER NOT NULL, digest BLOB NOT NULL, mismatch BLOB,
    files BLOB NOT NULL, judged REAL NOT NULL,
    PRIMARY KEY (match, episode)
) STRICT;
"""


class MatchRow(Struct, frozen=True):
    """A match as it was agreed. Everything an upload is checked against."""

    id: str
    experiment: str
    condition: str
    config_hash: str
    seed: int
    game: GameIdentity
    settings: PlaySettings
    participants: tuple[str, ...]
    software: tuple[dict[str, str], ...]
    created: float
    ended: float | None = None


class UploadRow(Struct, frozen=True):
    """An acknowledged upload."""

    match: str
    episode: int
    player: int
    body_hash: bytes
    digest: bytes
    bytes: int
    frames: int
    status: str
    received: float


class EpisodeRow(Struct, frozen=True):
    """A verdict."""

    match: str
    episode: int
    verdict: str
    detail: str
    players: tuple[int, ...]
    """Whose uploads it is about."""
    frames: int
    status: str
    seed: int
    digest: bytes
    mismatch: dict[str, Any] | None
    files: tuple[str, ...]
    """Names in the episode's folder."""
    judged: float


class Holder(NamedTuple):
    """Whom a ticket belongs to."""

    match: str
    player: int


class Stopped(Exception):
    """The catalogue was closed while the call waited. What it asked for was not done."""


class _Call(Generic[T]):
    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class Catalogue:
    """The catalogue's calls. They run in order in one thread; awaiting one never blocks the event loop."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises :class:`ServerError` if it is not usable or of another version."""
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._closed = False
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise ServerError(f"catalogue {path}: {error}") from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._make_schema()
        except sqlite3.Error as error:
            self._connection.close()
            raise ServerError(f"catalogue {path}: {error}") from error
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._thread.start()

    def _make_schema(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            self._connection.close()
            raise ServerError(f"catalogue of version {version}: expected {SCHEMA_VERSION}")

    def close(self) -> None:
        """Finish what was asked for, then close the file. Blocks for as long as that takes."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)
            self._thread.join()
            self._connection.close()

    # --- the writer thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        stop = False
        while not stop:
            batch = [self._calls.get()]
            while not self._calls.empty():
                batch.append(self._calls.get())
            calls = [call for call in batch if call is not None]
            stop = len(calls) < len(batch)
            if calls:
                self._commit(calls)

    def _commit(self, calls: list[_Call[Any]]) -> None:
        """Run all calls in one transaction; one that fails is undone alone. Answers after the commit."""
        done: list[tuple[_Call[Any], Any]] = []
        failed: list[tuple[_Call[Any], Exception]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                self._connection.execute("SAVEPOINT one")
                try:
                    done.append((call, call.work(self._connection)))
                except Exception as error:
                    if not self._connection.in_transaction:
                        raise  # SQLite gave the whole transaction up (full disk, say)
                    self._connection.execute("ROLLBACK TO one")
                    failed.append((call, error))
                self._connection.execute("RELEASE one")
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed to all who share this commit
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for call in calls:
                call.future.set_exception(error)
            return
        for call, result in done:
            call.future.set_result(result)
        for call, reason in failed:
            call.future.set_exception(reason)

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise Stopped
        call = _Call(work)
        self._calls.put(call)
        # Shielded: a cancelled waiter must not mark the future cancelled under the thread's hands.
        return await asyncio.shield(asyncio.wrap_future(call.future))

    # --- what can be asked --------------------------------------------------------------------------------------

    async def add_match(self, row: MatchRow, ticket_hashes: tuple[bytes, ...]) -> None:
        """Record a match and its players before they are told of it."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO match (id, experiment, condition, config_hash, seed, game, settings, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.id,
                    row.experiment,
                    row.condition,
                    row.config_hash,
                    row.seed,
                    msgspec.json.encode(row.game),
                    msgspec.json.encode(row.settings),
                    row.created,
                ),
            )
            db.executemany(
                "INSERT INTO player (match, player, participant, software, ticket_hash) VALUES (?, ?, ?, ?, ?)",
                [
                    (row.id, player, participant, msgspec.json.encode(software), ticket_hash)
                    for player, (participant, software, ticket_hash) in enumerate(
                        zip(row.participants, row.software, ticket_hashes, strict=True)
                    )
                ],
            )

        await self._call(work)

    async def drop_match(self, match: str) -> None:
        """Forget a match that never began. One with uploads stays: ``sqlite3.IntegrityError``."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM player WHERE match = ?", (match,))
            db.execute("DELETE FROM match WHERE id = ?", (match,))

        await self._call(work)

    async def player_left(self, match: str, player: int, at: float, reason: str) -> None:
        """Record when and why a player left."""
        await self._call(
            lambda db: (
                db.execute(
                    "UPDATE player SET left_at = ?, left_reason = ? WHERE match = ? AND player = ?",
                    (at, reason, match, player),
                ).rowcount
            )
        )

    async def end_match(self, match: str, at: float, reason: str) -> None:
        """Record that all of a match's verdicts are in."""
        await self._call(
            lambda db: db.execute("UPDATE match SET ended = ?, reason = ? WHERE id = ?", (at, reason, match)).rowcount
        )

    async def match(self, match: str) -> MatchRow | None:
        """One match."""
        return await self._call(lambda db: next(iter(_matches(db, "id = ?", match)), None))

    async def open_matches(self) -> list[MatchRow]:
        """Matches that were never ended, oldest first."""
        return await self._call(lambda db: _matches(db, "ended IS NULL"))

    async def holder(self, ticket_hash: bytes) -> Holder | None:
        """Whose ticket it is."""

        def work(db: sqlite3.Connection) -> Holder | None:
            row = db.execute("SELECT match, player FROM player WHERE ticket_hash = ?", (ticket_hash,)).fetchone()
            return None if row is None else Holder(*row)

        return await self._call(work)

    async def add_upload(self, row: UploadRow) -> None:
        """Record an upload that is durable on disk."""
        await self._call(
            lambda db: (
                db.execute(
                    "INSERT INTO upload VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(row)
                ).rowcount
            )
        )

    async def drop_upload(self, match: str, episode: int, player: int) -> None:
        """Forget an upload whose file is gone, so that it can be sent again."""
        await self._call(
            lambda db: (
                db.execute(
                    "DELETE FROM upload WHERE match = ? AND episode = ? AND player = ?", (match, episode, player)
                ).rowcount
            )
        )

    async def upload(self, match: str, episode: int, player: int) -> UploadRow | None:
        """One upload."""

        def work(db: sqlite3.Connection) -> UploadRow | None:
            row = db.execute(
                "SELECT * FROM upload WHERE match = ? AND episode = ? AND player = ?", (match, episode, player)
            ).fetchone()
            return None if row is None else UploadRow(*row)

        return await self._call(work)

    async def uploads(self, match: str, episode: int | None = None) -> list[UploadRow]:
        """The uploads of a match, or of one of its episodes, by episode and player."""

        def work(db: sqlite3.Connection) -> list[UploadRow]:
            rows = db.execute(
                "SELECT * FROM upload WHERE match = ? AND (? IS NULL OR episode = ?) ORDER BY episode, player",
                (match, episode, episode),
            )
            return [UploadRow(*row) for row in rows]

        return await self._call(work)

    async def all_uploads(self) -> list[UploadRow]:
        """Every upload there is."""
        return await self._call(lambda db: [UploadRow(*row) for row in db.execute("SELECT * FROM upload")])

    async def add_conflict(self, match: str, episode: int, player: int, body_hash: bytes, size: int, at: float) -> None:
        """Record that a player sent something else than before."""
        await self._call(
            lambda db: (
                db.execute(
                    "INSERT INTO conflict VALUES (?, ?, ?, ?, ?, ?)", (match, episode, player, body_hash, size, at)
                ).rowcount
            )
        )

    async def set_verdict(self, row: EpisodeRow) -> None:
        """Record a verdict, in place of an earlier one."""
        values = (
            row.match,
            row.episode,
            row.verdict,
            row.detail,
            msgspec.json.encode(row.players),
            row.frames,
            row.status,
            row.seed,
            row.digest,
            None if row.mismatch is None else msgspec.json.encode(row.mismatch),
            msgspec.json.encode(row.files),
            row.judged,
        )
        await self._call(
            lambda db: (
                db.execute(
                    "INSERT OR REPLACE INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
                ).rowcount
            )
        )

    async def verdict(self, match: str, episode: int) -> EpisodeRow | None:
        """One episode's verdict."""
        return await self._call(
            lambda db: next(iter(_episodes(db, "WHERE match = ? AND episode = ?", match, episode)), None)
        )

    async def verdicts(self, match: str | None = None) -> list[EpisodeRow]:
        """The verdicts of one match, or all, by match and episode."""
        return await self._call(lambda db: _episodes(db, "WHERE ? IS NULL OR match = ?", match, match))

    async def counts(self) -> dict[str, int]:
        """Verdicts by kind, over everything in the folder."""
        return await self._call(lambda db: dict(db.execute("SELECT verdict, count(*) FROM episode GROUP BY verdict")))


def _matches(db: sqlite3.Connection, condition: str, *values: Any) -> list[MatchRow]:
    columns = "id, experiment, condition, config_hash, seed, game, settings, created, ended"
    query = f"SELECT {columns} FROM match WHERE {condition} ORDER BY created, id"  # noqa: S608 - no outside text
    rows = db.execute(query, values).fetchall()
    found = []
    for row in rows:
        players = db.execute(
            "SELECT participant, software FROM player WHERE match = ? ORDER BY player", (row[0],)
        ).fetchall()
        found.append(
            MatchRow(
                row[0],
                row[1],
                row[2],
                row[3],
                row[4],
                msgspec.json.decode(row[5], type=GameIdentity),
                msgspec.json.decode(row[6], type=PlaySettings),
                tuple(player[0] for player in players),
                tuple(msgspec.json.decode(player[1], type=dict[str, str]) for player in players),
                row[7],
                row[8],
            )
        )
    return found


def _episodes(db: sqlite3.Connection, condition: str, *values: Any) -> list[EpisodeRow]:
    rows = db.execute(f"SELECT * FROM episode {condition} ORDER BY match, episode", values)  # noqa: S608 - ours
    return [
        EpisodeRow(
            match=row[0],
            episode=row[1],
            verdict=row[2],
            detail=row[3],
            players=msgspec.json.decode(row[4], type=tuple[int, ...]),
            frames=row[5],
            status=row[6],
            seed=row[7],
            digest=row[8],
            mismatch=None if row[9] is None else msgspec.json.decode(row[9], type=dict[str, Any]),
            files=msgspec.json.decode(row[10], type=tuple[str, ...]),
            judged=row[11],
        )
        for row in rows
    ]
