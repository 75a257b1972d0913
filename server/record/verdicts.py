"""The server's word on an episode, from its uploads to its files.

The rules are in :mod:`~rollgym.server.record.finding`.

Runs in a worker process. Doing it twice gives the same files again, so a kill at any moment costs only time.
"""

from __future__ import annotations

import contextlib
import time

from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.identity import identity
from rollgym.games.registry import available, make
from rollgym.processes.worker_process import WorkError
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.files.episode_players import episode_player
from rollgym.protocol.files.parquet import EpisodeFileError
from rollgym.protocol.messages import first_difference
from rollgym.server.record.episode_files import CANONICAL, Job, UnusableError, load_upload, mismatch_fields, write_files
from rollgym.server.record.finding import Finding, find
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.rows import EpisodeRow

__all__ = [
    "CANONICAL",
    "GameChangedError",
    "GameFailedError",
    "Job",
    "UnusableError",
    "find",
    "judge_episode",
    "load_upload",
]


class GameChangedError(WorkError):
    """The match was played in a game that this server does not have in that form. The episode stays unjudged."""


class GameFailedError(WorkError):
    """The game cannot be made here, or raised something while the episode was played again."""


def judge_episode(job: Job) -> EpisodeRow:
    """Compare, audit, write the episode's files durably, and give the row for the catalogue.

    The game is made from the server's own record of the match; what a client says is compared with it, never made.
    Code from elsewhere is run only if the configuration names it, and not because a data folder does.
    An export that cannot be used does not cost the others their verdict: it is set aside, and the verdict says so.
    Raises :class:`GameChangedError`, :class:`GameFailedError`, ``OSError`` if the disk refuses, and
    :class:`UnusableError` if no export is left or one that is in the dataset already cannot be read.
    """
    store = job.store
    exports, aside = _load(job)
    wanted = job.match.game.id
    if wanted not in job.own_games and wanted not in [game.id for game in available()]:
        raise GameChangedError(
            f"game {wanted!r}: neither built in nor the configured {', '.join(map(repr, sorted(job.own_games)))}"
        )
    game = _make(job)
    try:
        change = first_difference(job.match.game, identity(game.spec))
        if change is not None:
            raise GameChangedError(f"game.{change.field}: {change.first!r} in the match, {change.second!r} here")
        now = time.time()
        while True:
            finding = _with_reasons(_find(job, exports, game), aside)
            try:
                files = write_files(job, exports, finding, now)
                break
            except UnusableError as error:
                if not store.has_upload(UploadKey(job.match.id, job.uploads[0].episode, error.player)):
                    raise
                aside.append(error)
                exports = [export for export in exports if export.own.player != error.player]
                if not exports:
                    raise
    finally:
        with contextlib.suppress(Exception):  # the verdict is there, whatever the game says to its end
            game.close()
    header = finding.canonical[0].header
    return EpisodeRow(
        job.match.id,
        header.episode,
        finding.verdict,
        finding.detail,
        tuple(export.own.player for export in exports),
        header.frames,
        header.status,
        header.seed,
        finding.canonical[0].digest,
        None if finding.mismatch is None else mismatch_fields(finding.mismatch),
        files,
        now,
        tuple(_player(export, finding) for export in exports),
    )


def _player(export: Export, finding: Finding) -> EpisodePlayerRow:
    facts = export if finding.verdict == "diverged" else finding.canonical[0]
    return episode_player(facts.header, facts.canonical, export.own)


def _make(job: Job) -> Game:
    wanted = job.match.game
    try:
        return make(wanted.id, wanted.parameters)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, GameError) else f"{type(error).__name__}: {error}"
        raise GameFailedError(f"game {wanted.id!r} cannot be made here: {said}"[:1000]) from error


def _find(job: Job, exports: list[Export], game: Game) -> Finding:
    try:
        return find(exports, len(job.match.participants), game)
    except MemoryError:
        raise
    except Exception as error:
        said = f"game {job.match.game.id!r} raised {type(error).__name__} while the episode was played again: {error}"
        raise GameFailedError(said[:1000]) from error


def _load(job: Job) -> tuple[list[Export], list[UnusableError]]:
    """The exports, and those that cannot be used. One that was judged before was good: then the disk is at fault."""
    exports, aside = [], []
    for row in job.uploads:
        try:
            exports.append(load_upload(job.store, row))
        except (EpisodeFileError, ExportError) as error:
            unusable = UnusableError(row.player, str(error))
            if not job.store.has_upload(UploadKey(row.match, row.episode, row.player)):
                raise unusable from error
            aside.append(unusable)
    if job.uploads and not exports:
        raise aside[0]
    return exports, aside


def _with_reasons(finding: Finding, aside: list[UnusableError]) -> Finding:
    if not aside:
        return finding
    detail = "; ".join([finding.detail, *map(str, sorted(aside, key=lambda error: error.player))])
    return finding._replace(detail=detail[:1024])
