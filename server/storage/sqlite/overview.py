"""All episodes of a catalogue at once, a row for each player of each: quick enough for very many.

Reads what :mod:`rollgym.server.storage.sqlite.queries` reads, but decodes nothing of what is the same in every row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import lru_cache

import msgspec
from msgspec import Struct

from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.server.storage.overview import OverviewMatch, OverviewRow


class _Game(Struct):
    id: str
    version: str
    agents: tuple[str, ...]
    npcs: tuple[str, ...] = ()


class _Settings(Struct):
    input_delay: int


_PLAYER = ("match.id", "received.episode", "player.player", "player.participant", "match.experiment")
_MATCH = ("match.condition", "match.number", "match.created", "match.ended", "match.annulled", "match.reason")
_UPLOAD = ("upload.received", "upload.frames", "upload.status")
_EPISODE = (
    *("episode.verdict", "coalesce(episode.detail, unjudged.kind || ': ' || unjudged.reason)", "episode.players"),
    *("episode.frames", "episode.status", "episode.seed", "episode.files", "episode.judged"),
)
_COUNTED = tuple(f"episode_player.{name}" for name in EpisodePlayerRow.__struct_fields__)
_PLAIN = len((*_PLAYER, *_MATCH, *_UPLOAD, *_EPISODE))

_QUERY = f"""
WITH received AS (SELECT match, episode FROM upload UNION SELECT match, episode FROM episode)
SELECT {", ".join((*_PLAYER, *_MATCH, *_UPLOAD, *_EPISODE, *_COUNTED))}
FROM match JOIN player ON player.match = match.id
LEFT JOIN received ON received.match = match.id
LEFT JOIN episode ON episode.match = match.id AND episode.episode = received.episode
LEFT JOIN unjudged ON unjudged.match = match.id AND unjudged.episode = received.episode
LEFT JOIN upload ON upload.match = match.id AND upload.episode = received.episode AND upload.player = player.player
LEFT JOIN episode_player ON episode_player.match = match.id AND episode_player.episode = received.episode
    AND episode_player.player = player.player
WHERE received.episode IS NOT NULL OR match.ended IS NOT NULL
ORDER BY match.id, received.episode, player.player
"""  # noqa: S608 - no outside text


def overview(db: sqlite3.Connection) -> Iterator[OverviewRow]:
    """By match, episode and player. Matches that have no episode yet and are not over are not in it.

    Raises ``sqlite3.Error``.
    """
    for row in db.execute(_QUERY):
        counted = None if row[_PLAIN] is None else EpisodePlayerRow(*row[_PLAIN:])
        yield OverviewRow(*(*row[:_PLAIN], counted))


def matches(db: sqlite3.Connection) -> dict[str, OverviewMatch]:
    """What every match was of, by its id. Raises ``sqlite3.Error``, and ``msgspec.MsgspecError`` if it is no JSON."""
    rows: Iterator[tuple[str, bytes, bytes]] = iter(db.execute("SELECT id, game, settings FROM match"))
    return {match: _described(game, settings) for match, game, settings in rows}


@lru_cache(maxsize=64)
def _described(game: bytes, settings: bytes) -> OverviewMatch:
    """Most matches of a folder are of one game and one experiment: their long descriptions are decoded once."""
    found = msgspec.json.decode(game, type=_Game)
    players = tuple(agent for agent in found.agents if agent not in found.npcs)
    delay = msgspec.json.decode(settings, type=_Settings).input_delay
    return OverviewMatch(found.id, found.version, players, delay, game)
