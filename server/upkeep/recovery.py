"""Start-up: files and catalogue are brought together after whatever ended the last run.

What was acknowledged goes on to its verdict. What can be finished is finished. The rest is an orphan: reported, left
where it is, never deleted.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import Literal

import structlog
from msgspec import Struct

from rollgym.server.errors import RefusedError, ServerError
from rollgym.server.record.upload_validation import Expected, check_upload
from rollgym.server.record.workers import WorkerDiedError, WorkError, Workers
from rollgym.server.settings import Limits
from rollgym.server.storage.catalogue import Catalogue, EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.database import WAY_OUT
from rollgym.server.storage.persistence import insist
from rollgym.server.storage.store import InboxFile, Store

log = structlog.get_logger("rollgym.server.upkeep.recovery")

_PARQUET = b"PAR1"
# How every Parquet file begins and ends.


class Orphan(Struct, frozen=True):
    """Something that does not belong together."""

    kind: Literal["strange_file", "unusable_upload", "missing_upload", "unjudged_folder", "missing_episode"]
    place: str
    """Path inside the data folder."""
    detail: str


def open_catalogue(store: Store) -> Catalogue:
    """The catalogue of an open folder. Raises :class:`ServerError`, also if there is none where there should be one."""
    place = store.catalogue
    if (not place.exists() or place.stat().st_size == 0) and store.holds_data():
        raise ServerError(
            f"data folder {store.root}: holds episodes or uploads, and no catalogue;"
            f" {WAY_OUT} {store.root} makes it anew from the files"
        )
    return Catalogue(place)


class Recovery:
    """One pass over the data folder, before anybody is served."""

    def __init__(self, store: Store, catalogue: Catalogue, workers: Workers, limits: Limits) -> None:
        self._store = store
        self._catalogue = catalogue
        self._workers = workers
        self._limits = limits
        self.orphans: list[Orphan] = []
        self._matches: dict[str, MatchRow | None] = {}

    async def run(self) -> list[MatchRow]:
        """Reconcile. Returns the matches that wait for verdicts or were never ended."""
        files = {
            (f.match, f.episode, f.player): f for f in await asyncio.to_thread(lambda: [*self._store.inbox_files()])
        }
        uploads = {(u.match, u.episode, u.player): u for u in await self._catalogue.all_uploads()}
        verdicts = {(v.match, v.episode): v for v in await self._catalogue.verdicts()}
        for path in await asyncio.to_thread(lambda: [*self._store.strange_files()]):
            self._report("strange_file", path, "no upload has such a name")
        for key, file in files.items():
            verdict = verdicts.get(key[:2])
            if key not in uploads:
                row = await self._finish(file)
                if row is not None:
                    uploads[key] = row
            elif verdict is not None and key[2] in verdict.players:
                await self._discard(key)  # a kill came before this
        await self._check_uploads(uploads, set(files), verdicts)
        await self._check_folders(verdicts)
        unjudged = {key[0] for key in uploads if key[2] not in _players(verdicts.get(key[:2]))}
        open_matches = {row.id: row for row in await self._catalogue.open_matches()}
        for match_id in sorted(unjudged - set(open_matches)):
            row_or_none = await self._match(match_id)
            if row_or_none is not None:
                open_matches[match_id] = row_or_none
        for orphan in self.orphans:
            log.warning("orphan", kind=orphan.kind, place=orphan.place, detail=orphan.detail)
        return list(open_matches.values())

    async def _discard(self, key: tuple[str, int, int]) -> None:
        try:
            await asyncio.to_thread(self._store.discard_inbox, key[0], key[1], [key[2]])
        except OSError as error:  # it is in the dataset: the next start removes it
            log.warning("not_removed", place=self._place(self._store.inbox_path(*key)), error=str(error))

    async def _finish(self, file: InboxFile) -> UploadRow | None:
        """A file that has its name but no row yet: not acknowledged, but complete. Take it if it is good."""
        match = await self._match(file.match)
        if match is None:
            self._report("unusable_upload", file.path, "its match is not in the catalogue")
            return None
        if match.annulled:
            self._report("unusable_upload", file.path, "its match was annulled")
            return None
        try:
            expected = Expected(match, file.episode, file.player, self._limits.episode_frames)
            checked = await self._workers.run(check_upload, file.path, expected, self._store.new_temporary())
        except (RefusedError, WorkError, WorkerDiedError, OSError) as error:
            # Whatever is wrong with one file that was never acknowledged, everybody else is served.
            self._report("unusable_upload", file.path, str(error))
            return None
        row = UploadRow(
            file.match,
            file.episode,
            file.player,
            checked.body_hash,
            checked.digest,
            checked.bytes,
            checked.frames,
            checked.status,
            time.time(),
        )
        await insist("add_upload", lambda: self._catalogue.add_upload(row))
        log.info("upload_finished", match=row.match, episode=row.episode, player=row.player)
        return row

    async def _check_uploads(
        self,
        uploads: dict[tuple[str, int, int], UploadRow],
        files: set[tuple[str, int, int]],
        verdicts: dict[tuple[str, int], EpisodeRow],
    ) -> None:
        """Rows whose file is gone are dropped, so that the peer's next attempt is taken instead of called known."""
        for key in sorted(set(uploads) - files):
            if key[2] in _players(verdicts.get(key[:2])):
                continue
            path = self._store.inbox_path(*key)
            self._report("missing_upload", path, "acknowledged, without a verdict, and its file is gone")
            await insist("drop_upload", partial(self._catalogue.drop_upload, *key))
            del uploads[key]

    async def _check_folders(self, verdicts: dict[tuple[str, int], EpisodeRow]) -> None:
        uploads = {(row.match, row.episode) for row in await self._catalogue.all_uploads()}
        for match, episode, path in await asyncio.to_thread(lambda: [*self._store.episode_folders()]):
            if (match, episode) not in verdicts and (match, episode) not in uploads:
                self._report("unjudged_folder", path, "no verdict and no upload in the catalogue")
        for path in await asyncio.to_thread(self._remove_outdated, list(verdicts.values())):
            log.info("outdated_file_removed", place=self._place(path))
        for path, reason in await asyncio.to_thread(self._damaged, list(verdicts.values())):
            self._report("missing_episode", path, reason)

    def _remove_outdated(self, verdicts: list[EpisodeRow]) -> list[Path]:
        """Episode files that a verdict does not name: a kill came between it and their removal, or before a later one.

        Nothing is in them alone. What is not judged yet waits in the inbox.
        """
        removed = []
        for row in verdicts:
            for path in self._store.episode_folder(row.match, row.episode).glob("*.parquet"):
                if path.name in row.files:
                    continue
                try:
                    path.unlink(missing_ok=True)
                    removed.append(path)
                except OSError as error:
                    log.warning("not_removed", place=self._place(path), error=str(error))
        return removed

    def _damaged(self, verdicts: list[EpisodeRow]) -> list[tuple[Path, str]]:
        """Files that are gone or cut. A look at both ends, because there may be very many; ``verify`` reads them."""
        found = []
        for row in verdicts:
            folder = self._store.episode_folder(row.match, row.episode)
            for name in row.files:
                try:
                    with (folder / name).open("rb") as file:
                        head = file.read(len(_PARQUET))
                        file.seek(-len(_PARQUET), os.SEEK_END)
                        whole = head == file.read() == _PARQUET
                except OSError as error:
                    found.append((folder / name, str(error.strerror)))
                else:
                    if not whole:
                        found.append((folder / name, "not a whole Parquet file"))
        return found

    async def _match(self, match_id: str) -> MatchRow | None:
        if match_id not in self._matches:
            self._matches[match_id] = await self._catalogue.match(match_id)
        return self._matches[match_id]

    def _report(
        self,
        kind: Literal["strange_file", "unusable_upload", "missing_upload", "unjudged_folder", "missing_episode"],
        path: object,
        detail: str,
    ) -> None:
        self.orphans.append(Orphan(kind, self._place(path), detail[:500]))

    def _place(self, path: object) -> str:
        return str(path).removeprefix(f"{self._store.root}/")


def _players(verdict: EpisodeRow | None) -> tuple[int, ...]:
    return () if verdict is None else verdict.players
