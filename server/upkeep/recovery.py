"""Start-up: files and catalogue are brought together after whatever ended the last run.

What was acknowledged goes on to its verdict. What can be finished is finished. The rest is an orphan: reported, left
where it is, never deleted.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Literal

import structlog
from msgspec import Struct

from rollgym.processes.workers import WorkerDiedError, WorkError, Workers
from rollgym.server.errors import RefusedError
from rollgym.server.record.upload_validation import Expected, check_upload
from rollgym.server.settings import Limits
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.keys import EpisodeKey, UploadKey
from rollgym.server.storage.persistence import insist
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow

log = structlog.get_logger("rollgym.server.upkeep.recovery")

_PARQUET = b"PAR1"
# How every Parquet file begins and ends.


class Orphan(Struct, frozen=True):
    """Something that does not belong together."""

    kind: Literal["strange_file", "unusable_upload", "missing_upload", "unjudged_folder", "missing_episode"]
    place: str
    """Path inside the data folder."""
    detail: str


class Recovery:
    """One pass over the data folder, before anybody is served."""

    def __init__(self, store: EpisodeStore, catalogue: Catalogue, workers: Workers, limits: Limits) -> None:
        self._store = store
        self._catalogue = catalogue
        self._workers = workers
        self._limits = limits
        self.orphans: list[Orphan] = []
        self._matches: dict[str, MatchRow | None] = {}

    async def run(self) -> list[MatchRow]:
        """Reconcile. Returns the matches that wait for verdicts or were never ended."""
        waiting = await asyncio.to_thread(lambda: [*self._store.uploads()])
        uploads = {UploadKey(u.match, u.episode, u.player): u for u in await self._catalogue.all_uploads()}
        verdicts = {EpisodeKey(v.match, v.episode): v for v in await self._catalogue.verdicts()}
        for place in await asyncio.to_thread(lambda: [*self._store.strangers()]):
            self._report("strange_file", place, "no upload has such a name")
        for key in waiting:
            verdict = verdicts.get(key.of)
            if key not in uploads:
                row = await self._finish(key)
                if row is not None:
                    uploads[key] = row
            elif verdict is not None and key.player in verdict.players:
                await self._discard(key)  # a kill came before this
        await self._check_uploads(uploads, set(waiting), verdicts)
        await self._check_episodes(verdicts)
        unjudged = {key.match for key in uploads if key.player not in _players(verdicts.get(key.of))}
        open_matches = {row.id: row for row in await self._catalogue.open_matches()}
        for match_id in sorted(unjudged - set(open_matches)):
            row_or_none = await self._match(match_id)
            if row_or_none is not None:
                open_matches[match_id] = row_or_none
        for orphan in self.orphans:
            log.warning("orphan", kind=orphan.kind, place=orphan.place, detail=orphan.detail)
        return list(open_matches.values())

    async def _discard(self, key: UploadKey) -> None:
        try:
            await asyncio.to_thread(self._store.discard_uploads, [key])
        except OSError as error:  # it is in the dataset: the next start removes it
            log.warning("not_removed", place=self._store.upload_place(key), error=str(error))

    async def _finish(self, key: UploadKey) -> UploadRow | None:
        """A file that has its name but no row yet: not acknowledged, but complete. Take it if it is good."""
        match, place = await self._match(key.match), self._store.upload_place(key)
        if match is None:
            self._report("unusable_upload", place, "its match is not in the catalogue")
            return None
        if match.annulled:
            self._report("unusable_upload", place, "its match was annulled")
            return None
        expected = Expected(match, key.episode, key.player, self._limits.episode_frames)
        try:
            with self._store.upload_file(key) as file:
                checked = await self._workers.run(check_upload, file, expected)
        except (RefusedError, WorkError, WorkerDiedError, OSError) as error:
            # Whatever is wrong with one file that was never acknowledged, everybody else is served.
            self._report("unusable_upload", place, str(error))
            return None
        row = checked.row(expected, time.time())
        await insist("add_upload", lambda: self._catalogue.add_upload(row))
        log.info("upload_finished", match=row.match, episode=row.episode, player=row.player)
        return row

    async def _check_uploads(
        self,
        uploads: dict[UploadKey, UploadRow],
        waiting: set[UploadKey],
        verdicts: dict[EpisodeKey, EpisodeRow],
    ) -> None:
        """Rows whose file is gone are dropped, so that the peer's next attempt is taken instead of called known."""
        for key in sorted(set(uploads) - waiting):
            if key.player in _players(verdicts.get(key.of)):
                continue
            place = self._store.upload_place(key)
            self._report("missing_upload", place, "acknowledged, without a verdict, and its file is gone")
            await insist("drop_upload", partial(self._catalogue.drop_upload, *key))
            del uploads[key]

    async def _check_episodes(self, verdicts: dict[EpisodeKey, EpisodeRow]) -> None:
        uploads = {EpisodeKey(row.match, row.episode) for row in await self._catalogue.all_uploads()}
        for key in await asyncio.to_thread(lambda: [*self._store.episodes()]):
            if key not in verdicts and key not in uploads:
                self._report(
                    "unjudged_folder", self._store.file_place(key), "no verdict and no upload in the catalogue"
                )
        for place in await asyncio.to_thread(self._remove_outdated, list(verdicts.values())):
            log.info("outdated_file_removed", place=place)
        for place, reason in await asyncio.to_thread(self._damaged, list(verdicts.values())):
            self._report("missing_episode", place, reason)

    def _remove_outdated(self, verdicts: list[EpisodeRow]) -> list[str]:
        """Episode files that a verdict does not name: a kill came between it and their removal, or before a later one.

        Nothing is in them alone. What is not judged yet waits in the inbox.
        """
        removed = []
        for row in verdicts:
            key = EpisodeKey(row.match, row.episode)
            for name in self._store.files(key):
                if name in row.files or not name.endswith(".parquet"):
                    continue
                place = self._store.file_place(key, name)
                try:
                    self._store.discard_files(key, [name])
                    removed.append(place)
                except OSError as error:
                    log.warning("not_removed", place=place, error=str(error))
        return removed

    def _damaged(self, verdicts: list[EpisodeRow]) -> list[tuple[str, str]]:
        """Files that are gone or cut. A look at both ends, because there may be very many; ``verify`` reads them."""
        found = []
        for row in verdicts:
            key = EpisodeKey(row.match, row.episode)
            for name in row.files:
                place = self._store.file_place(key, name)
                try:
                    whole = self._store.ends(key, name, len(_PARQUET)) == (_PARQUET, _PARQUET)
                except OSError as error:
                    found.append((place, str(error.strerror)))
                else:
                    if not whole:
                        found.append((place, "not a whole Parquet file"))
        return found

    async def _match(self, match_id: str) -> MatchRow | None:
        if match_id not in self._matches:
            self._matches[match_id] = await self._catalogue.match(match_id)
        return self._matches[match_id]

    def _report(
        self,
        kind: Literal["strange_file", "unusable_upload", "missing_upload", "unjudged_folder", "missing_episode"],
        place: str,
        detail: str,
    ) -> None:
        self.orphans.append(Orphan(kind, place, detail[:500]))


def _players(verdict: EpisodeRow | None) -> tuple[int, ...]:
    return () if verdict is None else verdict.players
