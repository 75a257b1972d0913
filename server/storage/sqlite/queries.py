"""Reading the catalogue's rows from a connection, whoever holds it: the server's thread, or a copy in memory."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Any

import msgspec

from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.messages import GameIdentity, PlaySettings
from rollgym.server.storage.rows import (
    NO_LABEL,
    EpisodeRow,
    MatchRow,
    RefusalRow,
    SeriesProgress,
    UnjudgedRow,
    UploadRow,
)


def matches(db: sqlite3.Connection, condition: str = "TRUE", *values: Any) -> list[MatchRow]:
    """Matches, oldest first."""
    columns = (
        "id, experiment, condition, config_hash, seed, game, settings, created, ended, number, reason, annulled, owner"
    )
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
                row[9],
                row[10],
                bool(row[11]),
                row[12],
            )
        )
    return found


def episodes(db: sqlite3.Connection, condition: str = "TRUE", *values: Any) -> list[EpisodeRow]:
    """Verdicts, by match and episode. The condition is on these two."""
    by_player = episode_players(db, condition, *values)
    rows = db.execute(f"SELECT * FROM episode WHERE {condition} ORDER BY match, episode", values)  # noqa: S608 - ours
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
            by_player=tuple(by_player.get((row[0], row[1]), ())),
        )
        for row in rows
    ]


def episode_players(
    db: sqlite3.Connection, condition: str = "TRUE", *values: Any
) -> dict[tuple[str, int], list[EpisodePlayerRow]]:
    """What players' exports come to, by match and episode, in the order of the players."""
    columns = ", ".join(("match", "episode", *EpisodePlayerRow.__struct_fields__))
    query = f"SELECT {columns} FROM episode_player WHERE {condition} ORDER BY match, episode, player"  # noqa: S608 - ours
    found: dict[tuple[str, int], list[EpisodePlayerRow]] = defaultdict(list)
    for match, episode, *fields in db.execute(query, values):
        found[match, episode].append(EpisodePlayerRow(*fields))
    return found


def uploads(db: sqlite3.Connection, condition: str = "TRUE", *values: Any) -> list[UploadRow]:
    """Acknowledged uploads, by match, episode and player."""
    query = f"SELECT * FROM upload WHERE {condition} ORDER BY match, episode, player"  # noqa: S608 - ours
    return [UploadRow(*row) for row in db.execute(query, values)]


def unjudged(db: sqlite3.Connection) -> list[UnjudgedRow]:
    """Why episodes have no verdict, by match and episode."""
    return [
        UnjudgedRow(row[0], row[1], row[2], row[3], msgspec.json.decode(row[4], type=tuple[int, ...]), row[5])
        for row in db.execute("SELECT match, episode, kind, reason, players, at FROM unjudged ORDER BY match, episode")
    ]


def refusals(db: sqlite3.Connection) -> list[RefusalRow]:
    """Uploads that were refused, by match, episode and player."""
    columns = "match, episode, player, code, reason, times, first, last"
    query = f"SELECT {columns} FROM refusal ORDER BY match, episode, player, code"  # noqa: S608 - ours
    return [RefusalRow(*row) for row in db.execute(query)]


def conflicts(db: sqlite3.Connection) -> int:
    """Uploads of which a player sent another version later."""
    count: int
    (count,) = db.execute("SELECT count(*) FROM (SELECT DISTINCT match, episode, player FROM conflict)").fetchone()
    return count


def progress(db: sqlite3.Connection, experiment: str, condition: str) -> SeriesProgress:
    """How far an experiment's condition is."""
    wanted = "SELECT number, ended FROM match WHERE experiment = ? AND condition = ? AND NOT annulled"
    rows = db.execute(wanted, (experiment, condition)).fetchall()
    # Matches that a rebuilt catalogue cannot place may be this experiment's, and of any number so far.
    lost = [number for number, _ in db.execute(wanted, (NO_LABEL, NO_LABEL)) if number is not None]
    used = {number for number, _ in rows if number is not None}
    following = max((*used, *lost), default=-1) + 1
    free = () if lost else tuple(sorted(set(range(following)) - used))
    return SeriesProgress(len(rows), sum(ended is not None for _, ended in rows), following, free)
