"""The catalogue's tables, as a ladder: each step leads from one version to the next, and no version is refused.

A step is never changed once it was released. ``tests/server/data`` has a catalogue of each earlier version.
"""

from __future__ import annotations

import sqlite3

from rollgym.server.errors import ServerError

_FIRST = """
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

# Numbers of old matches: seeds were derived from at most these, so that going on after the highest repeats none.
_SECOND = """
ALTER TABLE match ADD COLUMN number INTEGER;
ALTER TABLE match ADD COLUMN annulled INTEGER NOT NULL DEFAULT 0;
UPDATE match SET number = ranked.number FROM (
    SELECT id, row_number() OVER (PARTITION BY experiment, condition ORDER BY created, id) - 1 AS number FROM match
) AS ranked WHERE ranked.id = match.id;
CREATE TABLE refusal (
    match TEXT NOT NULL REFERENCES match, episode INTEGER NOT NULL, player INTEGER NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, times INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
    PRIMARY KEY (match, episode, player, code)
) STRICT;
CREATE TABLE unjudged (
    match TEXT NOT NULL REFERENCES match, episode INTEGER NOT NULL,
    kind TEXT NOT NULL, reason TEXT NOT NULL, players BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (match, episode)
) STRICT;
"""

# What is asked of all episodes at once. Episodes that were judged before have no rows here, and their files say it.
_THIRD = """
CREATE TABLE episode_player (
    match TEXT NOT NULL, episode INTEGER NOT NULL, player INTEGER NOT NULL,
    policy TEXT NOT NULL, began REAL, ended REAL, reward REAL, rollbacks INTEGER NOT NULL,
    mispredicted INTEGER NOT NULL, speculative INTEGER NOT NULL, stalls INTEGER, rtt REAL,
    PRIMARY KEY (match, episode, player), FOREIGN KEY (match, player) REFERENCES player (match, player)
) STRICT;
"""

# Which process plays a match, and that no two processes play one number. No version of the server has given a number
# twice; should something else have, the later one is a match without a number rather than a catalogue that is refused.
_FOURTH = """
ALTER TABLE match ADD COLUMN owner TEXT;
UPDATE match SET number = NULL WHERE number IS NOT NULL AND NOT annulled AND rowid NOT IN (
    SELECT min(rowid) FROM match WHERE number IS NOT NULL AND NOT annulled GROUP BY experiment, condition, number
);
CREATE UNIQUE INDEX match_number ON match (experiment, condition, number) WHERE NOT annulled;
"""

LADDER = (_FIRST, _SECOND, _THIRD, _FOURTH)

VERSION = len(LADDER)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a catalogue's tables; 0 for an empty file."""
    version: int
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables, or lead those of an earlier version to the present one.

    Raises :class:`ServerError` for a version that is newer than this program, ``sqlite3.Error`` if it cannot be done;
    then the catalogue is of one version or the next, never between two.
    """
    version = version_of(connection)
    if not 0 <= version <= VERSION:
        raise ServerError(f"version {version}: this rollgym knows versions up to {VERSION}, a newer one wrote it")
    for reached, step in enumerate(LADDER[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version={reached}; COMMIT;")
