"""The catalogue in SQLite: a statement or two for each thing that a server asks of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from rollgym.server.storage.errors import AnnulledError
from rollgym.server.storage.rows import (
    EpisodeRow,
    Holder,
    MatchRow,
    RefusalRow,
    SeriesProgress,
    UnjudgedRow,
    UploadRow,
)
from rollgym.server.storage.sqlite import queries
from rollgym.server.storage.sqlite.database import Database


def catalogue_of(data: Path) -> Path:
    """Where the catalogue of a data folder is, or would be."""
    return data / "catalogue.sqlite"


class SqliteCatalogue(Database):
    """The embedded :class:`~rollgym.server.storage.catalogue.Catalogue`, whose methods these are."""

    async def add_match(self, row: MatchRow, ticket_hashes: tuple[bytes, ...]) -> None:
        """Record a match and its players before they are told of it."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO match"
                " (id, experiment, condition, config_hash, seed, game, settings, created, number, owner)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.id,
                    row.experiment,
                    row.condition,
                    row.config_hash,
                    row.seed,
                    msgspec.json.encode(row.game),
                    msgspec.json.encode(row.settings),
                    row.created,
                    row.number,
                    row.owner,
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

        await self.call(work)

    async def drop_match(self, match: str) -> None:
        """One with uploads stays: the tables refuse."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM player WHERE match = ?", (match,))
            db.execute("DELETE FROM match WHERE id = ?", (match,))

        await self.call(work)

    async def annul_match(self, match: str, at: float, reason: str) -> bool:
        """Record that a match was undone before play began. Its tickets open nothing any more, its number is free.

        False, and nothing was done, if something of it was uploaded after all.
        """
        statement = (
            "UPDATE match SET ended = ?, reason = ?, annulled = 1"
            " WHERE id = ? AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.match = match.id)"
        )
        return await self.call(lambda db: db.execute(statement, (at, reason, match)).rowcount > 0)

    async def progress(self, experiment: str, condition: str) -> SeriesProgress:
        """How far an experiment's condition is, over all runs: what a restarted server goes on from."""
        return await self.call(lambda db: queries.progress(db, experiment, condition))

    async def player_left(self, match: str, player: int, at: float, reason: str) -> None:
        """Record when and why a player left."""
        await self.call(
            lambda db: (
                db.execute(
                    "UPDATE player SET left_at = ?, left_reason = ? WHERE match = ? AND player = ?",
                    (at, reason, match, player),
                ).rowcount
            )
        )

    async def end_match(self, match: str, at: float, reason: str) -> None:
        """Record that all of a match's verdicts are in."""
        await self.call(
            lambda db: db.execute("UPDATE match SET ended = ?, reason = ? WHERE id = ?", (at, reason, match)).rowcount
        )

    async def match(self, match: str) -> MatchRow | None:
        """One match."""
        return await self.call(lambda db: next(iter(queries.matches(db, "id = ?", match)), None))

    async def open_matches(self) -> list[MatchRow]:
        """Matches that were never ended, oldest first."""
        return await self.call(lambda db: queries.matches(db, "ended IS NULL"))

    async def holder(self, ticket_hash: bytes) -> Holder | None:
        """Whose ticket it is."""

        def work(db: sqlite3.Connection) -> Holder | None:
            row = db.execute(
                "SELECT player.match, player.player FROM player JOIN match ON match.id = player.match"
                " WHERE player.ticket_hash = ? AND NOT match.annulled",
                (ticket_hash,),
            ).fetchone()
            return None if row is None else Holder(*row)

        return await self.call(work)

    async def add_upload(self, row: UploadRow) -> None:
        """Record an upload that is durable on disk. Raises :class:`AnnulledError`."""

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM match WHERE id = ? AND annulled", (row.match,)).fetchone():
                raise AnnulledError
            values = msgspec.structs.astuple(row)
            db.execute("INSERT INTO upload VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

        await self.call(work)

    async def drop_upload(self, match: str, episode: int, player: int) -> None:
        """Forget an upload whose file is gone, so that it can be sent again."""
        await self.call(
            lambda db: (
                db.execute(
                    "DELETE FROM upload WHERE match = ? AND episode = ? AND player = ?", (match, episode, player)
                ).rowcount
            )
        )

    async def upload(self, match: str, episode: int, player: int) -> UploadRow | None:
        """One upload."""
        found = await self.uploads(match, episode)
        return next((row for row in found if row.player == player), None)

    async def uploads(self, match: str, episode: int | None = None) -> list[UploadRow]:
        """The uploads of a match, or of one of its episodes, by episode and player."""
        wanted = "match = ? AND (? IS NULL OR episode = ?)"
        return await self.call(lambda db: queries.uploads(db, wanted, match, episode, episode))

    async def all_uploads(self) -> list[UploadRow]:
        """Every upload there is."""
        return await self.call(queries.uploads)

    async def add_conflict(self, match: str, episode: int, player: int, body_hash: bytes, size: int, at: float) -> None:
        """Record that a player sent something else than before."""
        await self.call(
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
        by_player = [(row.match, row.episode, *msgspec.structs.astuple(player)) for player in row.by_player]

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("DELETE FROM episode_player WHERE match = ? AND episode = ?", (row.match, row.episode))
            db.executemany("INSERT INTO episode_player VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", by_player)
            db.execute("DELETE FROM unjudged WHERE match = ? AND episode = ?", (row.match, row.episode))

        await self.call(work)

    async def set_unjudged(self, row: UnjudgedRow) -> None:
        """Record why an episode has no verdict, in place of an earlier reason. A verdict that it has stays."""
        players = msgspec.json.encode(row.players)
        values = (row.match, row.episode, row.kind, row.reason, players, row.at)
        await self.call(
            lambda db: db.execute("INSERT OR REPLACE INTO unjudged VALUES (?, ?, ?, ?, ?, ?)", values).rowcount
        )

    async def unjudged(self) -> list[UnjudgedRow]:
        """Episodes without a verdict that have a reason for it, by match and episode."""
        return await self.call(queries.unjudged)

    async def add_refusal(self, match: str, episode: int, player: int, code: str, reason: str, at: float) -> None:
        """Record that an upload was refused. However often it is tried, it is one row for each reason."""
        values = (match, episode, player, code, reason, 1, at, at)
        await self.call(
            lambda db: (
                db.execute(
                    "INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " times = times + 1, reason = excluded.reason, last = excluded.last",
                    values,
                ).rowcount
            )
        )

    async def refusals(self) -> list[RefusalRow]:
        """Uploads that were refused, by match, episode and player."""
        return await self.call(queries.refusals)

    async def verdict(self, match: str, episode: int) -> EpisodeRow | None:
        """One episode's verdict."""
        found = await self.call(lambda db: queries.episodes(db, "match = ? AND episode = ?", match, episode))
        return found[0] if found else None

    async def verdicts(self, match: str | None = None) -> list[EpisodeRow]:
        """The verdicts of one match, or all, by match and episode."""
        return await self.call(lambda db: queries.episodes(db, "? IS NULL OR match = ?", match, match))

    async def counts(self) -> dict[str, int]:
        """Verdicts by kind, over everything in the folder."""
        return await self.call(lambda db: dict(db.execute("SELECT verdict, count(*) FROM episode GROUP BY verdict")))
