"""Uploads: ``PUT /matches/{match}/episodes/{episode}``. Answered only when what was sent is durable.

The body goes to a temporary file in pieces, a worker process checks it, it gets its name in the inbox, the catalogue
gets its row, and only then the client its answer. The event loop only moves pieces.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import structlog
from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from rollgym.processes.workers import OutOfMemoryError, WorkerDiedError, WorkError, Workers
from rollgym.server.errors import RefusedError
from rollgym.server.events.kinds import UploadAnswered, UploadConflict, UploadRefused, UploadStored
from rollgym.server.events.stream import EventStream
from rollgym.server.record.live import LiveMatches
from rollgym.server.record.upload_body import ENCODINGS, Body, BodyError, TooLargeError
from rollgym.server.record.upload_validation import Checked, Expected, check_upload
from rollgym.server.settings import Limits
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.errors import NO_ROOM, AnnulledError, CatalogueError, Stopped
from rollgym.server.storage.keys import UploadKey, is_match_id
from rollgym.server.storage.rows import Holder, MatchRow
from rollgym.server.tickets import presented

_PIECE = 1 << 18
_BODIES_PER_SLOT = 8
"""Bodies received at a time, for each upload that is checked at a time: clients on slow lines must not hold up others,
and yet the temporary files must have a bound."""
_NOT_NOTED = ("no_such_match", "too_slow")
# Nothing that this match lacks, and a line that was too slow for once.
_MEDIA_TYPE = "application/msgpack"

log = structlog.get_logger("rollgym.server.record.ingest")


class Ingest:
    """Takes uploads in. ``clock`` is monotonic seconds."""

    def __init__(
        self,
        limits: Limits,
        *,
        store: EpisodeStore,
        catalogue: Catalogue,
        workers: Workers,
        matches: LiveMatches,
        events: EventStream,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._store = store
        self._catalogue = catalogue
        self._workers = workers
        self._matches = matches
        self._events = events
        self._clock = clock
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._slots = asyncio.Semaphore(limits.uploads_at_once)
        self._bodies = asyncio.Semaphore(limits.uploads_at_once * _BODIES_PER_SLOT)
        # One upload of one episode by one player at a time, so that two that cross cannot both be the first.
        self._locks: WeakValueDictionary[tuple[str, int, int], asyncio.Lock] = WeakValueDictionary()

    async def put(self, request: web.Request) -> web.Response:
        """The handler. Answers ``{"ok": true, "stored": "new" | "same"}`` or an error."""
        started = self._clock()
        self._running += 1
        self._idle.clear()
        try:
            return await self._respond(request, started)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Let running uploads end, for at most ``seconds``."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _respond(self, request: web.Request, started: float) -> web.Response:
        try:
            stored = await self._put_or_fail(request)
        except RefusedError as error:
            refused = UploadRefused(path=request.path[:200], remote=request.remote, code=error.code, error=str(error))
            self._events.publish(refused)
            response = web.json_response(error.acknowledgement(), status=error.status)
            if not request.content.at_eof():
                response.force_close()  # the rest of the body is not worth reading
            return response
        self._events.publish(UploadAnswered(stored=stored, seconds=self._clock() - started))
        return web.json_response({"ok": True, "stored": stored})

    async def _put_or_fail(self, request: web.Request) -> Literal["new", "same"]:
        try:
            return await self._put(request)
        except RefusedError:
            raise
        except Exception as error:
            log.exception("upload_failed", path=request.path[:200])
            raise RefusedError(500, "internal", "the server failed; it has been logged") from error

    async def _put(self, request: web.Request) -> Literal["new", "same"]:
        hashed = presented(request)
        match_id, episode = request.match_info["match"], int(request.match_info["episode"])
        try:
            holder = self._matches.holder_of(hashed) or await self._catalogue.holder(hashed)
            if holder is None:
                raise RefusedError(401, "bad_ticket", "the ticket is not valid", field="Authorization")
            if not is_match_id(match_id) or holder.match != match_id:
                raise RefusedError(403, "not_yours", "the ticket is for another match", field="match")
            row = await self._row(match_id)
            if episode >= row.settings.episodes:
                message = f"episode {episode}: the match has {row.settings.episodes}"
                raise RefusedError(404, "no_such_episode", message, field="episode", actual=episode)
            try:
                return await self._take(request, self._expected(request, row, holder, episode))
            except RefusedError as error:
                await self._note(holder, episode, error)
                raise
        except Stopped as error:
            raise RefusedError(503, "closing", "the server is stopping: send it again later") from error
        except CatalogueError as error:
            log.error("catalogue_refused", error=str(error))
            raise _catalogue_refused(error) from error

    async def _note(self, holder: Holder, episode: int, refused: RefusedError) -> None:
        """Keep what is missing from the dataset because it was refused, and why. Not what is only to be sent again."""
        if refused.status >= 500 or refused.code in _NOT_NOTED:
            return
        try:
            await self._catalogue.add_refusal(
                holder.match, episode, holder.player, refused.code, refused.reply.message, time.time()
            )
        except (CatalogueError, Stopped) as error:
            log.error("refusal_not_recorded", match=holder.match, episode=episode, error=str(error))

    async def _row(self, match_id: str) -> MatchRow:
        row = self._matches.row_of(match_id) or await self._catalogue.match(match_id)
        if row is None:  # its ticket was found, so it was annulled a moment ago
            raise _annulled()
        return row

    def _expected(self, request: web.Request, row: MatchRow, holder: Holder, episode: int) -> Expected:
        encoding = _encoding(request)
        if encoding not in ENCODINGS:
            raise RefusedError(
                415,
                "bad_encoding",
                f"content encoding {encoding[:64]!r}: expected {' or '.join(ENCODINGS)}",
                field="Content-Encoding",
                expected=list(ENCODINGS),
                actual=encoding,
            )
        if request.content_type not in (_MEDIA_TYPE, "application/octet-stream"):
            raise RefusedError(
                415,
                "bad_media_type",
                f"content type {request.content_type[:64]!r}: expected {_MEDIA_TYPE}",
                field="Content-Type",
                expected=_MEDIA_TYPE,
                actual=request.content_type,
            )
        limits = self._limits
        if request.content_length is not None and request.content_length > limits.upload_bytes:
            raise _too_large(limits.upload_bytes, request.content_length)
        return Expected(row, episode, holder.player, limits.episode_frames)

    async def _take(self, request: web.Request, expected: Expected) -> Literal["new", "same"]:
        async with self._bodies:  # until its temporary file is gone
            return await self._take_body(request, expected)

    async def _take_body(self, request: web.Request, expected: Expected) -> Literal["new", "same"]:
        temporary, kept = self._store.new_temporary(), False
        try:
            try:
                await self._receive(request, temporary)
                key = (expected.match.id, expected.episode, expected.player)
                lock = self._locks.get(key)
                if lock is None:
                    lock = self._locks[key] = asyncio.Lock()
                async with lock, self._slots:
                    checked = await self._workers.run(check_upload, temporary, expected)
                    stored = await self._keep(temporary, expected, checked)
                    kept = stored == "new"
                    return stored
            finally:
                if not kept:
                    await asyncio.to_thread(temporary.unlink, missing_ok=True)
        except OutOfMemoryError as error:
            raise RefusedError(413, "too_large", f"the check of the export {error}", field="body") from error
        except WorkError as error:
            raise RefusedError(422, "uncheckable", f"the check of the export {error}", field="body") from error
        except WorkerDiedError as error:
            raise RefusedError(503, "check_failed", f"the upload could not be checked: {error}") from error
        except OSError as error:
            if error.errno not in NO_ROOM:
                log.error("disk_refused", error=str(error))
                raise RefusedError(500, "disk_error", f"the disk refuses: {error.strerror}") from error
            raise _no_room(str(error.strerror)) from error

    async def _receive(self, request: web.Request, temporary: Path) -> None:
        """The body, as it comes and without content encoding, into a file. Raises :class:`RefusedError`."""
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                await self._write_body(request, temporary)
        except TimeoutError as error:
            message = f"the body took longer than {self._limits.upload_seconds} seconds"
            raise RefusedError(408, "too_slow", message, field="body") from error
        except TooLargeError as error:
            raise _too_large(error.limit, error.size) from error
        except (BodyError, ConnectionError, ClientError, HttpProcessingError, web.RequestPayloadError) as error:
            message = f"the body is cut short, or not {request.headers.get('Content-Encoding', 'identity')!r}"
            raise RefusedError(400, "bad_body", message, field="body") from error

    async def _write_body(self, request: web.Request, temporary: Path) -> None:
        # A body that fits into one piece, as most do, is one visit to another thread.
        opening, waiting = partial(self._open_body, temporary, _encoding(request)), bytearray()
        body: Body | None = None
        try:
            async for piece in request.content.iter_any():
                waiting += piece
                if len(waiting) >= _PIECE:
                    if body is None:
                        body = await asyncio.to_thread(opening)
                    await asyncio.to_thread(body.write, bytes(waiting))
                    waiting.clear()
            if body is None:
                await asyncio.to_thread(_write_whole, opening, bytes(waiting))
            else:
                await asyncio.to_thread(_write_last, body, bytes(waiting))
        finally:
            if body is not None:
                await asyncio.to_thread(body.close)

    def _open_body(self, temporary: Path, encoding: str) -> Body:
        """Blocking. Raises ``OSError``, also if fewer bytes are free than are always to be."""
        limits = self._limits
        if self._store.free_bytes() < limits.free_bytes:
            raise OSError(errno.ENOSPC, "too little free space")
        return Body(temporary, encoding, raw_limit=limits.upload_bytes, limit=limits.export_bytes)

    async def _keep(self, temporary: Path, expected: Expected, checked: Checked) -> Literal["new", "same"]:
        match, episode, player = expected.match.id, expected.episode, expected.player
        before = await self._catalogue.upload(match, episode, player)
        if before is not None:
            if before.body_hash == checked.body_hash:
                await self._revive_if_forgotten(expected)
                return "same"
            try:
                await self._catalogue.add_conflict(
                    match, episode, player, checked.body_hash, checked.bytes, time.time()
                )
            except CatalogueError as error:  # the answer is the same: another attempt would be another conflict
                log.error("conflict_not_recorded", match=match, episode=episode, player=player, error=str(error))
            first, second = before.body_hash.hex(), checked.body_hash.hex()
            self._events.publish(
                UploadConflict(match=match, episode=episode, player=player, first=first, second=second)
            )
            raise RefusedError(409, "conflict", "another export of this episode was taken before: that one stays")
        await asyncio.to_thread(self._store.put_upload, UploadKey(match, episode, player), temporary)
        try:
            await self._catalogue.add_upload(checked.row(expected, time.time()))
        except AnnulledError as error:
            await asyncio.to_thread(self._store.discard_uploads, [UploadKey(match, episode, player)])
            raise _annulled() from error
        self._events.publish(
            UploadStored(match=match, episode=episode, player=player, frames=checked.frames, bytes=checked.bytes)
        )
        if not self._matches.uploaded(match, episode, player):
            await self._matches.revive(expected.match)
        return "new"

    async def _revive_if_forgotten(self, expected: Expected) -> None:
        """The first answer got lost because the catalogue refused after it had the upload: it waits for a verdict."""
        match, episode, player = expected.match.id, expected.episode, expected.player
        if self._matches.row_of(match) is not None:
            return
        verdict = await self._catalogue.verdict(match, episode)
        if verdict is None or player not in verdict.players:
            tried = [row for row in await self._catalogue.unjudged() if (row.match, row.episode) == (match, episode)]
            if not any(player in row.players for row in tried):
                await self._matches.revive(expected.match)


def _write_whole(opening: Callable[[], Body], content: bytes) -> None:
    body = opening()
    try:
        _write_last(body, content)
    finally:
        body.close()


def _write_last(body: Body, rest: bytes) -> None:
    body.write(rest)
    body.finish()


def _encoding(request: web.Request) -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def _too_large(limit: int, size: int) -> RefusedError:
    return RefusedError(413, "too_large", f"more than {limit} bytes", field="body", expected=limit, actual=size)


def _annulled() -> RefusedError:
    return RefusedError(404, "no_such_match", "the match was annulled", field="match")


def _catalogue_refused(error: CatalogueError) -> RefusedError:
    if error.kind == "full":
        return _no_room(f"the catalogue cannot be written: {error}")
    code = "catalogue_busy" if error.kind == "busy" else "catalogue_failed"
    return RefusedError(503, code, f"the catalogue refuses: {error}; send it again later")


def _no_room(reason: str) -> RefusedError:
    return RefusedError(507, "disk_full", f"no room for the upload: {reason}; send it again later")
