"""One headless bot client, from joining a server to the server's verdict on what it recorded.

connect -> join -> (paired) -> play over the relay -> upload every episode -> finished -> verdicts -> done.
A match that the server annuls before play began leads back to waiting. Whatever happens on the way, exports are on
disk (``rollgym.client_sim.spool``) before anything else is done with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import platform
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import structlog

from rollgym.client_sim.control import ControlError, JoinRefused, ServerMessage
from rollgym.client_sim.events import DesyncFound, EpisodeEnded, EpisodeStarted, MatchEnded, PeerEvent
from rollgym.client_sim.keep import keep_export, make_folder
from rollgym.client_sim.network import Link
from rollgym.client_sim.peer import Peer
from rollgym.client_sim.resuming import ResumingControl
from rollgym.client_sim.runtime import Runtime
from rollgym.client_sim.spool import Spool
from rollgym.client_sim.transport.impaired import ImpairedTransport
from rollgym.client_sim.transport.interface import Transport, TransportError
from rollgym.client_sim.transport.relay import RelayTransport
from rollgym.client_sim.upload import Refused, Stored, Uploader, UploadResult
from rollgym.games.contract import Game, GameSpec
from rollgym.games.identity import identity
from rollgym.games.policies import Policy
from rollgym.protocol.episode import Export
from rollgym.protocol.messages import ErrorReply, MatchOver, MatchStart, PeerLeft, Verdict

log = structlog.get_logger(__name__)

ANNULLED = "annulled"
"""``match_over`` reason: the match was undone before play began, and this client waits for another one."""

STOP_WITHIN = 1.0
"""Seconds from being told to stop to the end of :func:`play`, uploads' last chance and goodbyes included. Well below
the two seconds that are promised, because a process takes its time to end, and machines are busy."""

STOP_UPLOADS = 0.5
"""Seconds of that for uploads; what is not through by then goes at the next start."""

GOODBYE = 0.3
"""Seconds for each half of a goodbye to the server, told or not."""

UPLOADS_WITHIN = 30.0
"""Seconds after the match that its uploads may take."""

VERDICTS_WITHIN = 60.0
"""Seconds after the uploads that the server may take for its verdicts."""

ANNULLED_WITHIN = 2.0
"""Seconds in which the server says that a match is annulled whose relay it has closed."""

MAX_PAIRINGS = 8
"""Pairings received and not yet played. The server sends one at a time; more of them is no server of ours."""


@dataclass(frozen=True)
class Joined:
    """The server has taken us, as ``participant``, and looks for a partner."""

    url: str
    participant: str


@dataclass(frozen=True)
class Paired:
    """A match begins. The same as the server's ``match_start`` without the ticket."""

    match: str
    player: int
    participants: tuple[str, ...]
    seed: int
    episodes: int


@dataclass(frozen=True)
class ControlLost:
    """The connection to the server is lost for good (one that only broke comes back: ``rollgym.client_sim.resuming``).

    A running match is played to its end, verdicts will not be heard.
    """

    reason: str


@dataclass(frozen=True)
class Progress:
    """How far the match is: :meth:`rollgym.client_sim.runtime.Runtime.stats`, now and then while it is played."""

    stats: dict[str, Any]


ClientEvent = (
    Joined
    | Paired
    | Progress
    | PeerEvent
    | PeerLeft
    | MatchOver
    | Verdict
    | Stored
    | Refused
    | ControlLost
    | ErrorReply
)
"""What :func:`play` reports while it goes on."""


@dataclass
class PlayResult:
    """How it went."""

    participant: str = ""
    match: str | None = None
    """None: stopped before a match was found."""
    player: int | None = None
    episodes: list[EpisodeEnded] = field(default_factory=list)
    desyncs: list[DesyncFound] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    """Episodes that the server has acknowledged."""
    refused: list[Refused] = field(default_factory=list)
    pending: int = 0
    """Exports that stay in the spool for the next start."""
    kept: list[Path] = field(default_factory=list)
    reason: str = ""
    """Why the match ended, in one word (see ``rollgym.protocol.packets.BYE_REASONS``)."""
    lost: str | None = None
    """Why the relay was lost for good, if that ended the match."""
    stopped: bool = False
    """Somebody asked this client to stop."""
    resumes: int = 0
    """How often the connection to the server broke and the seat was taken again."""
    stats: dict[str, Any] = field(default_factory=dict)
    """Of the peer, the transport and the runtime."""


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """While in this context, Ctrl-C and SIGTERM set ``stop`` instead of ending the process."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def software() -> dict[str, str]:
    """Versions of what plays, for the record."""
    versions = {"python": platform.python_version()}
    for name in ("rollgym", "numpy", "gymnasium"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


async def play(
    url: str,
    game_factory: Callable[[], Game],
    policy_factory: Callable[[GameSpec, int], Policy],
    *,
    spool: Path,
    participant: str | None = None,
    policy_info: Mapping[str, Any] | None = None,
    network: Link | None = None,
    network_seed: int = 0,
    keep: Path | None = None,
    keep_said: Mapping[str, str] | None = None,
    on_event: Callable[[ClientEvent], None] = lambda event: None,
    progress_every: float | None = None,
    stop: asyncio.Event | None = None,
) -> PlayResult:
    """Play one match on the server at ``url`` (``http://host:port``).

    ``policy_factory(spec, player)`` makes the bot once the seat is known; ``policy_info`` describes it in the record.
    ``network`` impairs what this client sends, with draws seeded by ``network_seed``. ``spool`` is the folder in which
    exports wait for their upload (what earlier runs left there is uploaded too); ``keep``, if given, gets a Parquet
    file of every export, with ``keep_said`` in its metadata. Every ``progress_every`` seconds, if given, ``on_event``
    hears how far the match is. When ``stop`` is set, the match is left and this returns within two seconds.

    Raises a :class:`~rollgym.client_sim.control.ControlError` (``ServerUnreachable``, ``JoinRefused``, and
    ``ConnectionLost``
    if that happens before play begins), :class:`~rollgym.client_sim.transport.interface.TransportError` (the relay did
    not
    open), :class:`~rollgym.client_sim.spool.SpoolError` (the spool folder is not usable), ``OSError`` and
    :class:`~rollgym.protocol.parquet.EpisodeFileError` (``keep`` is not), and whatever the game, the policy or
    ``on_event``
    raise.
    """
    client = _Client(url, policy_factory, on_event, stop or asyncio.Event())
    client.policy_info = policy_info
    client.network, client.network_seed = network, network_seed
    client.keep, client.keep_said = keep, keep_said
    client.progress_every = progress_every
    if keep is not None:
        make_folder(keep)
    return await client.run(game_factory, participant, Spool(spool))


T = TypeVar("T")


class _Client:
    """The state of one :func:`play`."""

    def __init__(
        self,
        url: str,
        policy_factory: Callable[[GameSpec, int], Policy],
        on_event: Callable[[ClientEvent], None],
        stop: asyncio.Event,
    ) -> None:
        self.url = url.rstrip("/")
        self.policy_factory = policy_factory
        self.policy_info: Mapping[str, Any] | None = None
        self.network: Link | None = None
        self.network_seed = 0
        self.keep: Path | None = None
        self.keep_said: Mapping[str, str] | None = None
        self.progress_every: float | None = None
        self.result = PlayResult()
        self._on_event = on_event
        self._stop = stop
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pairings: asyncio.Queue[MatchStart] = asyncio.Queue(MAX_PAIRINGS)
        self._over: dict[str, MatchOver] = {}
        self._news = asyncio.Event()  # set whenever a message came, the connection broke, or an upload has its answer
        self._refusal: ErrorReply | None = None
        self._control = ResumingControl(url, on_message=self._heard, on_lost=self._control_lost)
        self._runtime: Runtime | None = None
        self._start: MatchStart | None = None
        self._keeping: set[asyncio.Task[Path]] = set()
        self._stopped_at: float | None = None

    async def run(self, game_factory: Callable[[], Game], participant: str | None, spool: Spool) -> PlayResult:
        uploader = Uploader(spool, on_result=self._uploaded)
        game = game_factory()
        try:
            await uploader.resume()
            await self._control.connect()
            self.result.participant = await self._control.join(identity(game.spec), participant, software())
            self._tell(Joined(self.url, self.result.participant))
            while (start := await self._unless_stopped(self._next_match())) is not None:
                await self._play(start, game, uploader)
                if self._annulled(start.match):
                    self.result.match = self.result.player = None
                    continue
                if not self._stop.is_set():
                    await self._unless_stopped(self._settle(start, uploader))
                break
            return self.result
        finally:
            await self._leave(uploader)
            game.close()
            self._raise_failure()

    # -- what the server says ------------------------------------------------------------------------------------

    def _heard(self, message: ServerMessage) -> None:
        if isinstance(message, MatchStart):
            try:
                self._pairings.put_nowait(message)
            except asyncio.QueueFull:
                log.warning("pairing ignored: there are too many", match=message.match)
        elif isinstance(message, MatchOver):
            self._match_over(message)
        elif isinstance(message, PeerLeft):
            if self._runtime is not None and self._start is not None and message.match == self._start.match:
                self._tell(message)
                self._runtime.player_left(message.player)
        elif isinstance(message, Verdict):
            start = self._start
            if start is not None and message.match == start.match and 0 <= message.episode < start.settings.episodes:
                self.result.verdicts[message.episode] = message
                self._tell(message)
        else:
            log.error("the server reports an error", code=message.code, message=message.message)
            self._refusal = message
            self._tell(message)
        self._news.set()

    def _match_over(self, message: MatchOver) -> None:
        if self._start is None or message.match != self._start.match:
            return
        self._over[message.match] = message
        self._tell(message)
        if self._runtime is not None:
            self._runtime.stop()

    def _annulled(self, match: str) -> bool:
        over = self._over.get(match)
        return over is not None and over.reason == ANNULLED

    def _control_lost(self, reason: str) -> None:
        log.warning("connection to the server lost for good", reason=reason)
        self._tell(ControlLost(reason))
        self._news.set()

    def _uploaded(self, answer: UploadResult) -> None:
        ours = self._start is not None and answer.parcel.match == self._start.match
        if isinstance(answer, Refused):
            self.result.refused.append(answer)
        elif ours:
            self.result.stored.add(answer.parcel.episode)
        self._tell(answer)
        self._news.set()

    # -- the phases ----------------------------------------------------------------------------------------------

    async def _next_match(self) -> MatchStart:
        """Raises :class:`ConnectionLost`, :class:`JoinRefused`."""
        while self._pairings.empty():
            if self._refusal is not None:
                raise JoinRefused(self._refusal)
            self._control.check()
            await self._wait_for_news()
        return self._pairings.get_nowait()

    async def _play(self, start: MatchStart, game: Game, uploader: Uploader) -> None:
        _check(start, game)
        self._start = start
        self.result.match, self.result.player = start.match, start.player
        self._tell(Paired(start.match, start.player, start.participants, start.seed, start.settings.episodes))
        policy = self.policy_factory(game.spec, start.player)
        peer = Peer(
            start,
            game,
            policy,
            policy_info=dict(self.policy_info or {"name": type(policy).__name__}),
            software=software(),
            now=time.monotonic(),
            wall=time.time(),
        )

        def take(export: Export) -> None:
            upload = start.upload.replace("{match}", start.match).replace("{episode}", str(export.header.episode))
            uploader.submit(export, self.url + upload, start.ticket)
            if self.keep is not None:
                self._keeping.add(
                    asyncio.create_task(asyncio.to_thread(keep_export, export, self.keep, self.keep_said))
                )

        self._runtime = Runtime(peer, self._transport(start), on_export=take, on_event=self._peer_event)
        beside = [asyncio.create_task(self._stop_with(self._runtime))]
        if self.progress_every is not None:
            beside.append(asyncio.create_task(self._report(self._runtime, self.progress_every)))
        try:
            await self._runtime.run()
        except TransportError:
            # The relay is closed to us. If that is because the match was annulled, the server says so.
            if not await self._said_annulled(start.match):
                raise
        finally:
            for task in beside:
                task.cancel()
            self.result.stats = self._runtime.stats()
            lost = self._runtime.lost
            self._runtime = None
            complete = sum(episode.status == "complete" for episode in self.result.episodes)
            if complete == start.settings.episodes:
                # With everything uploaded the server may close the match before the peers have taken leave.
                self.result.reason = "finished"
            elif lost is not None and start.match not in self._over and not self._stop.is_set():
                log.error("relay lost, the match ended here", reason=lost)
                self.result.lost = lost

    def _transport(self, start: MatchStart) -> Transport:
        relay = RelayTransport(
            self.url + start.relay, start.ticket, reconnect_within=min(5.0, start.settings.disconnect_timeout)
        )
        if self.network is None:
            return relay
        return ImpairedTransport(
            relay, self.network, player=start.player, players=len(start.participants), seed=self.network_seed
        )

    async def _said_annulled(self, match: str) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANNULLED_WITHIN):
                while match not in self._over and not self._control.lost and not self._stop.is_set():
                    await self._wait_for_news()
        return self._annulled(match)

    def _peer_event(self, event: PeerEvent) -> None:
        if isinstance(event, EpisodeStarted):
            log.info("episode started", episode=event.episode, player=self.result.player)
        elif isinstance(event, EpisodeEnded):
            self.result.episodes.append(event)
            log.info("episode ended", episode=event.episode, status=event.status, frames=event.frames)
            if event.unconfirmed:
                log.warning(
                    "frames without the partner's inputs are kept apart",
                    episode=event.episode,
                    frames=event.unconfirmed,
                )
        elif isinstance(event, DesyncFound):
            self.result.desyncs.append(event)
            log.error("states differ between the players", episode=event.episode, frame=event.frame)
        elif isinstance(event, MatchEnded):
            self.result.reason = event.reason
        self._tell(event)

    async def _settle(self, start: MatchStart, uploader: Uploader) -> None:
        """Everything uploaded, said so, and the verdicts heard; each within its bound."""
        if not await uploader.drain(UPLOADS_WITHIN) or self._control.lost or start.match in self._over:
            return
        try:
            await self._control.finished(len(self.result.episodes))
        except ControlError as error:
            log.warning("the server was not told that we have finished", error=str(error))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERDICTS_WITHIN):
                while start.match not in self._over and not self._control.lost:
                    await self._wait_for_news()

    async def _leave(self, uploader: Uploader) -> None:
        """Let go of everything. After a stop this is bounded by what is left of its time."""
        self.result.stopped = self._stop.is_set()
        self.result.resumes = self._control.resumes
        over = self._start is not None and self._start.match in self._over
        try:
            if not over and not self._control.lost:
                reason = "stopped" if self.result.stopped else self.result.reason or "left"
                await self._control.leave(reason, within=min(GOODBYE, self._time_left()))
            await uploader.drain(max(0.0, min(STOP_UPLOADS, self._time_left() - GOODBYE)))
        finally:
            self.result.pending = uploader.pending
            if self.result.pending:
                log.warning("uploads stay in the spool for the next start", count=self.result.pending)
            await uploader.close()
            await self._control.close(within=max(0.05, min(GOODBYE, self._time_left())))
            for kept in await asyncio.gather(*self._keeping, return_exceptions=True):
                if isinstance(kept, BaseException):
                    self._fail(kept)
                else:
                    self.result.kept.append(kept)
            self.result.kept.sort()

    # -- small things --------------------------------------------------------------------------------------------

    async def _wait_for_news(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _stop_with(self, runtime: Runtime) -> None:
        await self._until_stopped()
        runtime.stop()

    async def _report(self, runtime: Runtime, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self._tell(Progress(runtime.stats()))

    async def _until_stopped(self) -> None:
        """Until somebody asks us to stop, or ``on_event`` has failed."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((stopped, self._failed), return_when=asyncio.FIRST_COMPLETED)
            self._stopped_at = time.monotonic()
        finally:
            stopped.cancel()

    def _time_left(self) -> float:
        """Seconds of :data:`STOP_WITHIN` that are left; infinity if nobody asked us to stop."""
        if self._stopped_at is None:
            return math.inf
        return self._stopped_at + STOP_WITHIN - time.monotonic()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of ``work``, or None if the stop came first."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._until_stopped())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    def _tell(self, event: ClientEvent) -> None:
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - play() raises it; here a library's callback would lose it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    def _raise_failure(self) -> None:
        if self._failed.done():
            raise self._failed.exception() or AssertionError("failed without a reason")
        self._failed.cancel()


def _check(start: MatchStart, game: Game) -> None:
    """Raises :class:`JoinRefused` for a pairing that can not be played."""
    players = game.spec.players
    for name, actual, expected, wrong in (
        ("participants", len(start.participants), players, len(start.participants) != players),
        ("player", start.player, f"0..{players - 1}", start.player >= players),
        ("relay", start.relay, "a path", not start.relay.startswith("/")),
        (
            "upload",
            start.upload,
            "a path with {episode}",
            not start.upload.startswith("/") or "{episode}" not in start.upload,
        ),
    ):
        if wrong:
            raise JoinRefused(
                ErrorReply("bad_match_start", f"match_start of the server: {name}", name, expected, actual)
            )
