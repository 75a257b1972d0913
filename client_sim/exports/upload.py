"""Brings exports to the server, once as far as anyone can tell: spool first, PUT until acknowledged, then forget.

HTTP PUT and not Socket.IO: an upload may be megabytes, must not sit between control messages, and has to go on after
the control connection and this process are gone; a ticket in a header is all it needs. PUT is idempotent by
definition, so an acknowledgement that got lost costs one more request and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from rollgym.client_sim.backoff import Backoff
from rollgym.client_sim.exports.spool import Parcel, Spool, Spooled, SpoolError, names
from rollgym.protocol.messages import ErrorReply, MessageError, parse

log = structlog.get_logger(__name__)

BACKOFF_FIRST, BACKOFF_MOST = 0.2, 10.0
"""Seconds between attempts."""

HELD_STATUSES = frozenset({401, 404, 408, 421, 423, 425, 429})
"""Client errors that another attempt may not meet: the server may be restarting, or does not know the match yet."""

MAX_ANSWER = 64 * 1024
"""Bytes read of the server's answer."""

AT_ONCE = 2
"""Uploads under way, and in memory, at a time."""

UPLOADS = "/matches/"
"""Where a server's paths for uploads begin (``docs/protocol.md``)."""

GONE = "the spool file is gone"

TIMEOUT = aiohttp.ClientTimeout(total=120.0, sock_connect=5.0, sock_read=60.0)
"""Of one attempt. The server answers only when the export is on its disk."""


@dataclass(frozen=True)
class Stored:
    """The server has the export durably. ``again``: it had the same one before."""

    parcel: Parcel
    again: bool


@dataclass(frozen=True)
class Refused:
    """The server will never take the export; it is kept in the spool's ``refused`` folder."""

    parcel: Parcel
    status: int
    """HTTP status; 0 if the spool file itself is damaged."""
    error: ErrorReply

    @property
    def reason(self) -> str:
        """For people."""
        error = self.error
        text = f"status {self.status}, {error.code}: {error.message}"
        if error.field:
            text += f" ({error.field}: {error.actual!r}, expected {error.expected!r})"
        return text


UploadResult = Stored | Refused


class Uploader:
    """Uploads in the background what it is given, as long as it takes.

    ``on_result`` hears of every export that was acknowledged or refused. ``rng`` and ``sleep`` are the back-off's.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        on_result: Callable[[UploadResult], None],
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spool = spool
        self._on_result = on_result
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, no secret
        self._sleep = sleep
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=TIMEOUT, auto_decompress=False
        )
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[asyncio.Task[None], bool] = {}  # -> was it submitted in this run
        self._waiting: dict[asyncio.Task[None], Spooled] = {}
        self._failure: BaseException | None = None
        self.attempts = 0

    @property
    def pending(self) -> int:
        """Exports submitted in this run that are neither acknowledged nor refused."""
        return sum(self._tasks.values())

    def submit(self, spooled: Spooled) -> None:
        """Upload an export. Returns at once."""
        self._start(self._send(spooled), True)

    async def resume(self, at: str | None = None) -> int:
        """Take up what earlier runs left in the spool; how many that is.

        With ``at`` (``http://host:port``) uploads go there and not to where the server was then, and they count as
        submitted in this run.
        """
        left = await asyncio.to_thread(lambda: list(self._spool.pending()))
        for spooled in left:
            if at is not None:
                spooled = msgspec.structs.replace(spooled, parcel=_moved(spooled.parcel, at))
            self._start(self._send(spooled), at is not None)
        if left:
            log.info("uploads left over from before are taken up", count=len(left))
        return len(left)

    async def drain(self, within: float) -> bool:
        """Wait until nothing submitted in this run is pending, for at most ``within`` seconds; whether that is so.

        What earlier runs left is not waited for: its server may be gone for good. Raises what went wrong in the
        uploader itself.
        """
        mine = [task for task, submitted in self._tasks.items() if submitted]
        if mine:
            await asyncio.wait(mine, timeout=within)
        if self._failure is not None:
            raise self._failure
        return self.pending == 0

    async def close(self) -> None:
        """Stop. What is still pending stays in the spool for the next start."""
        unspooled = [spooled for spooled in self._waiting.values() if spooled.path is None]
        for spooled in unspooled:
            log.error("export lost: the disk did not take it and the server does not have it", **names(spooled.parcel))
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._session.close()

    def _start(self, work: Coroutine[Any, Any, None], submitted: bool) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = submitted
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._waiting.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            log.error("upload failed in this client", error=repr(task.exception()))

    async def _send(self, spooled: Spooled) -> None:
        """Try until the server has answered for good."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = spooled
        backoff = Backoff(BACKOFF_FIRST, BACKOFF_MOST, self._rng)
        while True:
            async with self._slots:
                answer = await self._attempt(spooled)
            if isinstance(answer, Stored):
                # From here on the server answers for it: whoever doubts that finds here what it had taken.
                log.info(
                    "upload acknowledged", digest=spooled.parcel.digest, again=answer.again, **names(spooled.parcel)
                )
            if isinstance(answer, Stored | Refused):
                await asyncio.to_thread(self._clear, spooled, answer)
                self._on_result(answer)
                return
            if answer == GONE:
                log.info("export taken up and finished by another process", **names(spooled.parcel))
                return
            pause, attempt = backoff.next(), backoff.attempts
            level = log.warning if attempt in (1, 4) else log.debug
            level("upload not acknowledged", reason=answer, attempt=attempt, next_in=pause, **names(spooled.parcel))
            await self._sleep(pause)

    def _clear(self, spooled: Spooled, answer: UploadResult) -> None:
        """Take an export that has its final answer out of the spool."""
        kept = None
        try:
            if isinstance(answer, Stored):
                self._spool.remove(spooled)
                return
            if spooled.path is not None:
                kept = self._spool.refuse(spooled.path, answer.reason)
        except SpoolError as error:
            # It stays, and is uploaded again at the next start: the server will give the same answer.
            log.error("spool could not be cleared", error=str(error), **names(spooled.parcel))
        if isinstance(answer, Refused):
            log.error(
                "the server REFUSED an episode's upload; it is kept, and not tried again",
                kept=str(kept),
                reason=answer.reason,
                **names(spooled.parcel),
            )

    async def _attempt(self, spooled: Spooled) -> UploadResult | str:
        """One PUT: the server's final word, or the reason for another attempt."""
        parcel = spooled.parcel
        try:
            body = await asyncio.to_thread(self._spool.body, spooled)
        except FileNotFoundError:
            return GONE
        except SpoolError as error:
            return Refused(parcel, 0, ErrorReply("damaged", error.reason))
        self.attempts += 1
        try:
            async with self._session.put(
                parcel.url,
                data=body,
                headers={
                    "Authorization": f"Bearer {parcel.ticket}",
                    "Content-Type": "application/msgpack",
                    "Content-Encoding": "deflate",
                },
                allow_redirects=False,  # the ticket is for this server only
            ) as response:
                status = response.status
                text = await _read(response.content)
        except TimeoutError:
            return "no answer in time"
        except (aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__
        return _judge(parcel, status, text)


def _moved(parcel: Parcel, at: str) -> Parcel:
    """To the server at another URL. Either may be behind a prefix of its own: the server's own path begins last."""
    path = urlsplit(parcel.url).path
    return msgspec.structs.replace(parcel, url=at.rstrip("/") + path[max(0, path.rfind(UPLOADS)) :])


def _judge(parcel: Parcel, status: int, text: bytes) -> UploadResult | str:
    try:
        answer = msgspec.json.decode(text)
    except msgspec.DecodeError:
        answer = None
    if status == 200 and isinstance(answer, dict) and answer.get("ok") is True:
        return Stored(parcel, again=answer.get("stored") == "same")
    if 400 <= status < 500 and status not in HELD_STATUSES:
        return Refused(parcel, status, _error(status, answer))
    if status == 200:
        return "status 200 without an acknowledgement"
    return f"status {status}: {_error(status, answer).message}"


def _error(status: int, answer: object) -> ErrorReply:
    """The reply in the body, as it is or under ``error``."""
    if isinstance(answer, dict):
        answer = answer.get("error", answer)
    try:
        return parse(ErrorReply, answer)
    except MessageError:
        return ErrorReply("http", f"HTTP status {status}")


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The first :data:`MAX_ANSWER` bytes, or all."""
    text = b""
    while len(text) < MAX_ANSWER:
        piece = await content.read(MAX_ANSWER - len(text))
        if not piece:
            break
        text += piece
    return text
