"""A client's stay at a server: join, be paired, play, upload, hear the verdicts, leave.

Two sides talk here, in any order: the server, over the control connection, and the player process, which plays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from rollgym.client_sim.client.control import ServerMessage
from rollgym.client_sim.client.control_errors import ControlError, JoinRefused, NobodyCame
from rollgym.client_sim.client.match import ServedMatch
from rollgym.client_sim.client.pairings import Pairings, check_start
from rollgym.client_sim.client.player_reports import PlayerReports
from rollgym.client_sim.client.reconnecting_control import ReconnectingControl
from rollgym.client_sim.client.results import ClientEvent, ControlLost, Joined, Paired, PlayResult, Progress
from rollgym.client_sim.client.stopping import Stopping
from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.exports.upload import Refused, Uploader, UploadResult
from rollgym.client_sim.network_model import Link
from rollgym.client_sim.player.messages import Begin
from rollgym.client_sim.player.process import PlayerFailed, PlayerProcess
from rollgym.client_sim.player.software import software
from rollgym.client_sim.transport.impaired import ImpairedTransport
from rollgym.client_sim.transport.interface import Transport, TransportError
from rollgym.client_sim.transport.offers import transport_of
from rollgym.protocol.messages import ErrorReply, GameIdentity, MatchOver, MatchStart, PeerLeft, Verdict, Waiting

log = structlog.get_logger(__name__)

STOP_UPLOADS = 0.5
"""Seconds of the time to stop for uploads; what is not through by then goes at the next start."""

GOODBYE = 0.3
"""Seconds for each half of a goodbye to the server, told or not."""

UPLOADS_WITHIN = 30.0
"""Seconds after the match that its uploads may take."""

VERDICTS_WITHIN = 60.0
"""Seconds after the uploads that the server may take for its verdicts."""

ANNULLED_WITHIN = 2.0
"""Seconds in which the server says that a match is annulled whose relay it has closed."""


class Stay:
    """One client from its joining to its leaving. What has no argument may be set before :meth:`run`."""

    def __init__(
        self,
        url: str,
        player: PlayerProcess,
        spool: Spool,
        on_event: Callable[[ClientEvent], None],
        stopping: Stopping,
    ) -> None:
        self.url = url.rstrip("/")
        self.network: Link | None = None
        self.network_seed = 0
        self.progress_every: float | None = None
        self.wait: float | None = None
        self.stopping = stopping
        self.result = PlayResult()
        self._on_event = on_event
        self._player = player
        self._spool = spool
        self._news = asyncio.Event()  # set whenever a message came, the connection broke, or an upload has its answer
        self._refusal: ErrorReply | None = None
        self._pairings = Pairings()
        self._control = ReconnectingControl(self.url, on_message=self._on_message, on_lost=self._on_control_lost)
        self._uploader = Uploader(spool, on_result=self._on_uploaded)
        self._reports = PlayerReports(self.result, self._uploader, self._notify, stopping.fail)
        self._playing: ServedMatch | None = None
        self._start: MatchStart | None = None

    def keep_copies(self, folder: Path) -> None:
        """The player process keeps copies of exports in this folder: the result names them as it is named here."""
        self._reports.keep = folder

    async def run(self, participant: str | None) -> PlayResult:
        try:
            await self._uploader.resume()
            game = await self.stopping.unless(self._player.ready())
            if game is None:
                return self.result
            if await self.stopping.unless(self._join(game, participant)) is None:
                return self.result
            while (start := await self.stopping.unless(self._next_match())) is not None:
                await self._play(start, game)
                if self._pairings.annulled(start.match):
                    self._start = self.result.match = self.result.player = None
                    continue
                if not self.stopping.asked:
                    await self.stopping.unless(self._settle(start))
                break
            return self.result
        finally:
            await self._leave()

    # -- what the server says ------------------------------------------------------------------------------------

    def _on_message(self, message: ServerMessage) -> None:
        if isinstance(message, MatchStart):
            if not self._pairings.add(message):
                log.warning("pairing ignored: there are too many", match=message.match)
        elif isinstance(message, MatchOver):
            # It may come before we have begun the match, as may the next one: both wait until we look.
            if self._pairings.over(message) and self._is_played(message.match):
                self._notify(message)
                if self._playing is not None:
                    self._playing.stop()
        elif isinstance(message, PeerLeft):
            if self._pairings.left(message) and self._is_played(message.match) and self._playing is not None:
                self._notify(message)
                self._playing.player_left(message.player)
        elif isinstance(message, Verdict):
            start = self._start
            if start is not None and message.match == start.match and 0 <= message.episode < start.settings.episodes:
                self.result.verdicts[message.episode] = message
                self._notify(message)
        elif isinstance(message, Waiting):
            self._notify(message)
        else:
            log.error("the server reports an error", code=message.code, message=message.message)
            self._refusal = message
            self._notify(message)
        self._news.set()

    def _is_played(self, match: str) -> bool:
        return self._start is not None and self._start.match == match

    def _on_control_lost(self, reason: str) -> None:
        over = self._start is not None and self._pairings.is_over(self._start.match)
        # A server may end with its last match.
        (log.info if over else log.warning)("connection to the server lost for good", reason=reason)
        self.result.server_lost = reason
        self._notify(ControlLost(reason))
        self._news.set()

    def _on_uploaded(self, answer: UploadResult) -> None:
        if isinstance(answer, Refused):
            self.result.refused.append(answer)
        elif self._is_played(answer.parcel.match):
            self.result.stored.add(answer.parcel.episode)
        self._notify(answer)
        self._news.set()

    # -- the phases ----------------------------------------------------------------------------------------------

    async def _join(self, game: GameIdentity, participant: str | None) -> str:
        """Raises :class:`ServerUnreachable`, :class:`JoinRefused`, :class:`ConnectionLost`."""
        await self._control.connect()
        self.result.participant = await self._control.join(game, participant, software())
        self._notify(Joined(self.url, self.result.participant))
        return self.result.participant

    async def _next_match(self) -> MatchStart:
        """Raises :class:`ConnectionLost`, :class:`JoinRefused`, :class:`NobodyCame`, :class:`PlayerFailed`."""
        self._player.listen(lambda message: None, self._news.set)
        try:
            async with asyncio.timeout(self.wait):
                while (start := self._pairings.next()) is None:
                    if self._refusal is not None:
                        raise JoinRefused(self._refusal)
                    if self._player.over:
                        raise PlayerFailed(self._player.how_it_ended())
                    self._control.check()
                    await self._wait_for_news()
        except TimeoutError:
            assert self.wait is not None
            raise NobodyCame(self.wait) from None
        return start

    async def _play(self, start: MatchStart, game: GameIdentity) -> None:
        check_start(start, game, self.url)
        self._start = start
        self.result.match, self.result.player = start.match, start.player
        self.result.wanted = start.settings.episodes
        self._notify(Paired(start.match, start.player, start.participants, start.seed, start.settings.episodes))
        over = self._pairings.over_because(start.match)
        if over is not None:
            self.result.reason = over
            return
        self._playing = playing = ServedMatch(
            self._player,
            self._transport(start),
            Begin(start, self.url, self.progress_every),
            on_message=self._reports.take,
            on_progress=lambda stats: self._notify(Progress(stats)),
        )
        stopping = asyncio.create_task(self._stop_with(playing))
        for player in self._pairings.who_left(start.match):
            self._notify(PeerLeft(start.match, player))
            playing.player_left(player)
        try:
            await playing.run()
        except TransportError as error:
            # The relay is closed to us. If that is because the match was annulled, the server says so.
            if not await self._was_annulled(start.match):
                self.result.lost = str(error)
        finally:
            stopping.cancel()
            self._playing = None
            self.result.stats = playing.stats()
        self._note_end(start, playing)
        if self._player.over:
            await self._take_up_what_was_spooled(start)

    def _note_end(self, start: MatchStart, playing: ServedMatch) -> None:
        # Whoever stops a client knows that a game at work is interrupted; for anybody else that is news.
        failure = playing.failure or (None if self.stopping.asked else playing.interrupted)
        complete = sum(episode.status == "complete" for episode in self.result.episodes)
        if complete == start.settings.episodes:
            # With everything uploaded the server may close the match before the peers have taken leave.
            self.result.reason, self.result.lost = "finished", None
        elif failure is not None:
            log.error("the match ended here", reason=failure)
            self.result.failure = failure
        elif playing.lost is not None and not self._pairings.is_over(start.match) and not self.stopping.asked:
            self.result.lost = playing.lost
        if self.result.lost is not None:
            log.error("relay lost, the match ended here", reason=self.result.lost)

    async def _take_up_what_was_spooled(self, start: MatchStart) -> None:
        """A process that died may have stored more than it could say."""
        for spooled in await asyncio.to_thread(lambda: list(self._spool.pending())):
            if spooled.parcel.match == start.match and spooled.parcel.player == start.player:
                self._uploader.submit(spooled)

    def _transport(self, start: MatchStart) -> Transport:
        plain = transport_of(start, self.url)
        if self.network is None:
            return plain
        return ImpairedTransport(
            plain, self.network, player=start.player, players=len(start.participants), seed=self.network_seed
        )

    async def _was_annulled(self, match: str) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANNULLED_WITHIN):
                while not self._pairings.is_over(match) and not self._control.lost and not self.stopping.asked:
                    await self._wait_for_news()
        return self._pairings.annulled(match)

    async def _settle(self, start: MatchStart) -> None:
        """Everything uploaded, said so, and the verdicts heard; each within its bound."""
        if not await self._uploader.drain(UPLOADS_WITHIN) or self._control.lost or self._pairings.is_over(start.match):
            return
        if self._player.over:
            return  # the server hears it from our goodbye
        try:
            await self._control.finished(len(self.result.episodes))
        except ControlError as error:
            log.warning("the server was not told that we have finished", error=str(error))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERDICTS_WITHIN):
                while not self._pairings.is_over(start.match) and not self._control.lost:
                    await self._wait_for_news()

    async def _leave(self) -> None:
        """Let go of everything. After a stop this is bounded by what is left of its time."""
        self.result.stopped = self.stopping.asked
        self.result.resumes = self._control.resumes
        over = self._start is not None and self._pairings.is_over(self._start.match)
        try:
            if not over and not self._control.lost:
                reason = self.result.failure or self.result.reason or "left"
                reason = "stopped" if self.result.stopped else reason
                await self._control.leave(reason, within=self.stopping.at_most(GOODBYE))
            await self._uploader.drain(max(0.0, min(STOP_UPLOADS, self.stopping.time_left() - GOODBYE)))
        finally:
            self.result.pending = self._uploader.pending
            if self.result.pending:
                log.warning("uploads stay in the spool for the next start", count=self.result.pending)
            await self._uploader.close()
            await self._control.close(within=self.stopping.at_most(GOODBYE))
            self.result.kept.sort()

    # -- small things --------------------------------------------------------------------------------------------

    async def _wait_for_news(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _stop_with(self, playing: ServedMatch) -> None:
        await self.stopping.wait()
        playing.stop()

    def _notify(self, event: ClientEvent) -> None:
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - play() raises it; here a library's callback would lose it
            self.stopping.fail(error)
