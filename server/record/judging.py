"""From uploads to a recorded verdict, or to a recorded reason why there is none: always to one of them.

An episode stays unjudged, with its uploads in the inbox, if judging it fails. It is tried again at the next start of
the server: with another version of the game, more memory or a longer deadline it may succeed. Within one run only that
is tried again which may go better at once.

============  ======================================================================================================
kind          why there is no verdict
============  ======================================================================================================
game_changed  the match was played in another version of the game than this server has
game_failed   the game cannot be made here, or raised something while the episode was played again
overdue       playing it again took longer than ``server.judge_seconds`` allows
memory        playing it again took more than ``server.worker_memory`` allows
worker_died   every worker process that tried it died
unusable      no upload of it can be read any more
refused       the disk or the catalogue refused, again and again
internal      an error of the server itself; it is in the log
============  ======================================================================================================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from rollgym.processes.workers import OutOfMemoryError, OverdueError, WorkerDiedError, WorkError, Workers
from rollgym.protocol.messages import PlaySettings
from rollgym.server.events.kinds import EpisodeJudged, EpisodeNotJudged
from rollgym.server.events.stream import EventStream
from rollgym.server.record.verdicts import GameChangedError, Job, UnusableError, judge_episode
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.errors import CatalogueError, Stopped
from rollgym.server.storage.keys import EpisodeKey, UploadKey
from rollgym.server.storage.persistence import insist
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UnjudgedRow, UploadRow

KINDS = ("game_changed", "game_failed", "overdue", "memory", "worker_died", "unusable", "refused", "internal")

WORK = (
    "rollgym.server.record.upload_validation",
    "rollgym.server.record.verdicts",
    "rollgym.protocol.files.first_use",
)
"""Modules of what workers are asked for: pyarrow and gymnasium come with them, and pandas if Arrow finds it."""

_TIMES_PLAYED = 2.0
# How much longer than being played an episode's re-simulation may take: the players' machines simulated it as fast as
# it was played, and this one may be slower or busier.

log = structlog.get_logger("rollgym.server.record.judging")


class Judging:
    """Judges episodes in worker processes of its own, so that one that hangs keeps no upload from being checked."""

    def __init__(
        self,
        *,
        store: EpisodeStore,
        catalogue: Catalogue,
        workers: Workers,
        events: EventStream,
        own_games: frozenset[str],
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """``own_games``: of the server's configuration. ``seconds``: ``server.judge_seconds``."""
        self._store = store
        self._catalogue = catalogue
        self._workers = workers
        self._events = events
        self._own_games = own_games
        self._seconds = seconds
        self._clock = clock

    async def judge(self, match: MatchRow, episode: int) -> tuple[EpisodeRow | UnjudgedRow, frozenset[int]]:
        """The recorded verdict or reason, and whose uploads were looked at.

        More players than a verdict is about if an upload had to be set aside. Raises :class:`Stopped` only.
        """
        started = self._clock()
        players: tuple[int, ...] = ()
        try:
            uploads = tuple(await insist("uploads", lambda: self._catalogue.uploads(match.id, episode)))
            players = tuple(upload.player for upload in uploads)
            before = await insist("verdict", lambda: self._catalogue.verdict(match.id, episode))
            row = await insist("judge_episode", lambda: self._judged(match, uploads))
            await insist("set_verdict", lambda: self._catalogue.set_verdict(row))
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a game, a worker or the disk does, others play on
            return await self._unjudged(match, episode, players, error), frozenset(players)
        await self._tidied(row, before)
        self._events.publish(
            EpisodeJudged(
                match=row.match,
                episode=episode,
                verdict=row.verdict,
                frames=row.frames,
                detail=row.detail,
                seconds=self._clock() - started,
            )
        )
        return row, frozenset(players)

    async def _judged(self, match: MatchRow, uploads: tuple[UploadRow, ...]) -> EpisodeRow:
        job = Job(self._store, match, uploads, self._own_games)
        frames = max((upload.frames for upload in uploads), default=0)
        return await self._workers.run_within(deadline(self._seconds, frames, match.settings), judge_episode, job)

    async def _unjudged(self, match: MatchRow, episode: int, players: tuple[int, ...], error: Exception) -> UnjudgedRow:
        row = UnjudgedRow(match.id, episode, kind_of(error), str(error)[:1000], players, time.time())
        if row.kind == "internal":
            log.error("judge_failed", match=match.id, episode=episode, exc_info=error)
        self._events.publish(EpisodeNotJudged(match=match.id, episode=episode, reason_kind=row.kind, reason=row.reason))
        try:
            await insist("set_unjudged", lambda: self._catalogue.set_unjudged(row))
        except (CatalogueError, OSError) as refusal:
            log.error("reason_not_recorded", match=match.id, episode=episode, error=str(refusal))
        return row

    async def _tidied(self, row: EpisodeRow, before: EpisodeRow | None) -> None:
        """Remove what the dataset now has in another place: the inbox files, and an earlier verdict's versions."""
        try:
            await insist("tidy", lambda: asyncio.to_thread(self.tidy, row, before))
        except OSError as error:  # the next start does it
            log.error("not_tidied", match=row.match, episode=row.episode, error=str(error))

    def tidy(self, row: EpisodeRow, before: EpisodeRow | None) -> None:
        """Blocking. Raises ``OSError``."""
        key = EpisodeKey(row.match, row.episode)
        self._store.discard_uploads(UploadKey(*key, player) for player in row.players)
        self._store.discard_files(key, set(before.files if before is not None else ()) - set(row.files))


def deadline(seconds: float, frames: int, settings: PlaySettings) -> float:
    """Seconds for the re-simulation of an episode of ``frames`` frames."""
    return seconds + _TIMES_PLAYED * frames / settings.fps


def kind_of(error: Exception) -> str:
    """One of :data:`KINDS`."""
    match error:
        case GameChangedError():
            return "game_changed"
        case OverdueError():
            return "overdue"
        case OutOfMemoryError():
            return "memory"
        case WorkError():
            return "game_failed"
        case WorkerDiedError():
            return "worker_died"
        case UnusableError():
            return "unusable"
        case CatalogueError() | OSError():
            return "refused"
        case _:
            return "internal"
