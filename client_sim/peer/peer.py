"""The wire peer: plays a match with other peers over packets that may be lost, repeated, reordered and late.

A state machine without I/O and without a clock. Whoever drives it (``rollgym.client_sim.player.driver`` with sockets,
``rollgym.client_sim.simulator.simulator`` in virtual time) hands in packets and the time, and sends what
:meth:`Peer.poll` returns. ``docs/architecture.md`` says what its parts are.

Phases: *meeting* (hello until everybody was heard) -> for each episode *playing* -> *ending* (the terminal frame is
canonical here; the end is re-sent until acknowledged, and inputs are re-sent as ever, because redundancy in later
packets cannot protect the last ones) -> *leaving* (bye, and still answering for a moment) -> done.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from rollgym.client_sim.peer.disconnect_agreement import Departures
from rollgym.client_sim.peer.episode import Episode, RecorderFactory
from rollgym.client_sim.peer.episode_end import Ending
from rollgym.client_sim.peer.events import EpisodeStarted, MatchEnded, PeerEvent, PlayerGone
from rollgym.client_sim.peer.farewell import Farewell
from rollgym.client_sim.peer.handover import Handover
from rollgym.client_sim.peer.input_sender import InputSender
from rollgym.client_sim.peer.input_source import InputSource
from rollgym.client_sim.peer.intake import LEAVE_GRACE, Intake
from rollgym.client_sim.peer.meeting import Meeting
from rollgym.client_sim.peer.pacing import AWAY_AFTER, NEVER, Pacing
from rollgym.client_sim.peer.phase import Phase
from rollgym.client_sim.peer.playing import Playing
from rollgym.client_sim.peer.remote_peer import Link, connection_totals
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import Predictor
from rollgym.client_sim.rollback.session import Progress
from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.games.identity import identity
from rollgym.protocol.episode.export import Export, Status
from rollgym.protocol.messages import MatchStart
from rollgym.protocol.packets import Input, Packet, encode

# A member looked up in its Enum costs three times a name (before Python 3.12), and every poll asks for the phase often.
_MEETING, _PLAYING, _ENDING, _LEAVING, _DONE = Phase


class Peer:
    """One player's peer for one match.

    ``inputs`` decides what the local player does, ``predictor`` what others are taken to do until it is known, and
    ``recorder`` makes what each episode is written down by. ``now`` is monotonic seconds everywhere, ``wall`` Unix
    seconds at construction.

    What other peers send never raises. What the game, the input source, the prediction rule or the recorder raises ends
    the match here, as :attr:`failure`: what is canonical is exported with status ``error``, the others are told, and
    whoever drives the peer raises it when the peer is done.
    """

    def __init__(
        self,
        start: MatchStart,
        game: Game,
        inputs: InputSource,
        *,
        policy_info: dict[str, Any],
        software: dict[str, str],
        now: float,
        wall: float,
        predictor: Predictor = repeat_last,
        recorder: RecorderFactory = EpisodeRecorder,
    ) -> None:
        self.start = start
        self.player = start.player
        players = len(start.participants)
        self.links = {p: Link(p, players, now) for p in range(players) if p != start.player}
        self._others = tuple(self.links.values())
        self.phase = _MEETING
        self.failure: BaseException | None = None
        """What the game or the policy raised. The driver raises it once the peer is done."""
        self.packets_sent = 0
        self.bytes_sent = 0
        played = limited(game, start.settings.frame_limit)
        known = identity(game.spec)
        self._begin_episode = partial(Episode, start, played, known, inputs, predictor=predictor, recorder=recorder)
        self._pacing = Pacing(start.settings, now)
        self._departures = Departures(self._others, start.player, start.settings)
        self._intake = Intake(start, self.links, self._departures)
        self._playing = Playing(start.settings, self._pacing, self._others)
        self._meeting = Meeting(self._others, start.settings.start_timeout, now)
        self._ending: Ending | None = None
        self._farewell: Farewell | None = None
        self._number = 0
        self._episode: Episode | None = None
        self._events: list[PeerEvent] = []
        self._handover = Handover(self._departures, self._events, policy_info, software, wall - now)
        self._sender = InputSender(players, game.spec.input_codecs[start.player].width)

    # -- what the driver calls -----------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Nothing more will be sent or played."""
        return self.phase is _DONE

    @property
    def episode(self) -> Episode | None:
        """The present episode, or the last one."""
        return self._episode

    @property
    def stats(self) -> dict[str, Any]:
        """Present totals: finished episodes, and the counters of the running one."""
        running = self._episode.statistics(self._pacing.next_tick) if self._episode is not None else {}
        frame = self._episode.session.current if self._episode is not None else 0
        sent = {"packets_sent": self.packets_sent, "bytes_sent": self.bytes_sent}
        return {"episode": self._number, "frame": frame, **connection_totals(self._others), **sent, **running}

    def next_wakeup(self, now: float) -> float:
        """When :meth:`poll` is next due; infinity when done."""
        if self.phase is _PLAYING:
            pacing, episode = self._pacing, self._episode
            if episode is not None and pacing.behind(episode.session):
                return now
            return min(pacing.next_tick, pacing.extra_at)
        if self.phase is _MEETING:
            return now if self._meeting.complete else self._meeting.next_hello
        if self._farewell is not None:
            return NEVER if self.phase is _DONE else self._farewell.next
        return self._pacing.next_tick

    def take_exports(self) -> list[Export]:
        """Exports of episodes that ended since the last call."""
        taken, self._handover.exports = self._handover.exports, []
        return taken

    def take_events(self) -> list[PeerEvent]:
        """What happened since the last call."""
        taken = self._events[:]
        self._events.clear()
        return taken

    def player_left(self, player: int, now: float) -> None:
        """The server says that a player's connection ended; of our own, that we count as gone for it."""
        if player == self.player:
            self._departures.dropped = True
        elif (link := self.links.get(player)) is not None:
            link.gave_word = True
            self._departures.suspect(link, "left", "partner_left", now + LEAVE_GRACE)

    def stop(self, now: float) -> None:
        """End the match here and now: the canonical prefix is exported, partners are told."""
        if self.phase in (_MEETING, _PLAYING, _ENDING):
            try:
                self._finish("aborted", "left", now)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a game raises is its peer's failure
                self._fail(error, now)

    def receive(self, source: int, data: bytes, now: float) -> None:
        """A packet from player ``source``, for whom the transport vouches. Never raises for what is in it."""
        if self.phase is not _DONE:
            self._intake.receive(source, data, now)

    # -- time passes ---------------------------------------------------------------------------------------------

    def poll(self, now: float) -> list[tuple[int, bytes]]:
        """Do what is due at ``now``; the packets to send, as (player, bytes)."""
        out: list[tuple[int, bytes]] = []
        gap = now - self._pacing.polled
        self._pacing.polled = now
        if gap > AWAY_AFTER:
            # Not scheduled for a while: others were not silent in a time in which nobody listened.
            self._departures.excuse(gap, now)
        try:
            if self.phase is _MEETING:
                self._meet(now, out)
            if self.phase is _PLAYING:
                self._play(now, out)
            if self.phase is _ENDING:
                self._end(now, out)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a game raises is its peer's failure
            self._fail(error, now)
        if self.phase is _LEAVING and self._farewell is not None:
            self._send_all(out, self._farewell.packets(now))
            if self._farewell.done:
                self.phase = _DONE
        return out

    def _send(self, out: list[tuple[int, bytes]], player: int, packet: Packet) -> None:
        data = encode(packet)
        self.packets_sent += 1
        self.bytes_sent += len(data)
        out.append((player, data))

    def _send_all(self, out: list[tuple[int, bytes]], packets: Iterable[tuple[int, Packet]]) -> None:
        for player, packet in packets:
            self._send(out, player, packet)

    def _meet(self, now: float, out: list[tuple[int, bytes]]) -> None:
        meeting = self._meeting
        late = now >= meeting.deadline
        if self._departures.dropped or (not meeting.complete and (late or self._note_departures(now))):
            self._finish(self._departures.status, "timeout" if late else "left", now)
            return
        self._send_all(out, meeting.packets(now))
        if meeting.complete:
            self._begin(0, now)

    def _begin(self, number: int, now: float) -> None:
        self._number = number
        self._handover.begin()
        for link in self._others:
            link.start_episode()
            link.last_heard = link.played_at = now
        self._episode = self._begin_episode(number, now)
        self._intake.begin(number, self._episode)
        self._pacing.start(now)
        self._departures.waiting_since = now
        self.phase = _PLAYING
        self._events.append(EpisodeStarted(number, self._episode.seed))

    # -- playing -------------------------------------------------------------------------------------------------

    def _play(self, now: float, out: list[tuple[int, bytes]]) -> None:
        episode, pacing = self._present(), self._pacing
        session = episode.session
        if episode.failure is not None:  # an interrupt in the middle of a frame, which went through to the driver
            self._fail(episode.failure, now)
            return
        if self._departures.dropped:
            self._finish("partner_silent", "dropped", now)
            return
        if now < pacing.next_tick and not pacing.behind(session):
            if now >= pacing.extra_at:
                pacing.extra_at = NEVER
                self._send_inputs(episode, now, out)
            return
        if now - pacing.next_tick > pacing.debt:
            pacing.skip(now)
        if pacing.plays_on:
            pacing.widen(session, self._departures.longest_pause(now))
        progress = self._playing.advance(episode, now)
        if episode.desyncs and self._desynced(episode):
            self._finish("desync", "desync", now)
            return
        if progress is Progress.OVER:
            self._over(episode, now)
            return
        self._send_inputs(episode, now, out)
        lossy = any([link.reported_loss for link in self._others])
        pacing.extra_at = now + pacing.period / 2 if lossy else NEVER
        if progress is Progress.READY:
            self._departures.waiting_since = now
        else:
            self._departures.wait(now, self._departures.slowest(session), session)
        self._part(episode, now, out)

    def _present(self) -> Episode:
        assert self._episode is not None
        return self._episode

    def _desynced(self, episode: Episode) -> bool:
        """Tell of states that differ; whether that ends the match."""
        for found in episode.take_desyncs():
            self._events.append(found)
        return bool(episode.desyncs) and self.start.settings.on_desync == "stop"

    def _send_inputs(self, episode: Episode, now: float, out: list[tuple[int, bytes]]) -> None:
        session = episode.session
        known, gone = session.inputs.known(), self._departures.flags
        acked = episode.last_input
        for link in self._others:
            if link.gone is None:
                for packet in self._sender.packets(link, episode, known, gone, now):
                    self._send(out, link.player, packet)
                acked = min(acked, link.acked)
        episode.forget_inputs(acked)
        if self._departures.any_gone:
            for link in self._departures.notices(now):
                self._send(out, link.player, self._sender.notice(link, episode, gone, now))

    # -- players who leave ---------------------------------------------------------------------------------------

    def _note_departures(self, now: float) -> bool:
        """Whoever has been silent for too long, or said that it goes, is gone. True if anybody is."""
        for link in self._departures.due(now):
            self._events.append(PlayerGone(link.player, link.gone or ""))
        return self._departures.any_gone

    def _part(self, episode: Episode, now: float, out: list[tuple[int, bytes]]) -> None:
        """Carry out what departures mean for the running episode."""
        departures = self._departures
        if not self._note_departures(now):
            return
        if departures.ends_at_once:
            self._finish(departures.status, "left", now)
        else:
            self._send_all(out, departures.hand_on(episode.session, episode.number, now))
            departures.carry_out(episode.session)

    # -- the end of an episode and of the match ------------------------------------------------------------------

    def _over(self, episode: Episode, now: float) -> None:
        """Its last frame is canonical: the one that ended it, or the last one the survivors agreed on.

        In both cases the others may still lack our inputs for it, so nobody leaves before all have it.
        """
        export = self._handover.complete(episode, "complete" if episode.complete else self._departures.status, now)
        if self._failed(episode):
            self._leave("error", now)
            return
        self._ending = Ending(episode.number, export.header.frames, export.digest, self._others, now)
        self.phase = _ENDING
        self._departures.waiting_since = now
        self._pacing.start(now)

    def _end(self, now: float, out: list[tuple[int, bytes]]) -> None:
        episode, ending, departures = self._present(), self._ending, self._departures
        assert ending is not None
        self._handover.release(episode)
        if departures.dropped:
            self._finish("partner_silent", "dropped", now)
            return
        if now >= self._pacing.next_tick:
            self._pacing.next_tick = now + self._pacing.period
            # The partner may still lack our last inputs.
            self._send_inputs(episode, now, out)
        self._send_all(out, ending.packets(now))
        if not ending.settled:
            departures.wait(now, ending.awaited, episode.session)
            if self._note_departures(now):
                # Nobody else may have the last inputs of the gone, without which others do not come to this end.
                self._send_all(out, departures.hand_on(episode.session, episode.number, now))
            return
        if self._handover.holds:
            # Somebody who is missing may play on without us: its own word could still come.
            if now - departures.waiting_since >= departures.silence:
                self._finish("partner_silent", "left", now)
            return
        # A partial episode is a prefix, which may be longer at a peer that is gone.
        differences = ending.differences(episode.session) if episode.complete else []
        self._events.extend(differences)
        last = episode.number + 1 >= self.start.settings.episodes
        if differences and self.start.settings.on_desync == "stop":
            self._leave("desync", now)
        elif last and episode.complete and all(link.end is not None for link in self._others):
            # Whoever is gone by now has played the whole match.
            self._leave("finished", now)
        elif last or (departures.any_gone and not departures.goes_on):
            self._leave("left", now)
        else:
            episode.recorder.clear()
            self._begin(episode.number + 1, now)

    def _finish(self, status: Status, reason: str, now: float) -> None:
        """The match ends before its time: export what is canonical, and go."""
        episode = self._episode
        if episode is not None and self.phase is _PLAYING:
            if episode.failure is not None:
                self._fail(episode.failure, now)
                return
            if not episode.ended:
                # What arrived since the last tick counts: it may confirm frames, and even the last one.
                episode.settle(now)
            if self._desynced(episode):
                status = reason = "desync"
            self._handover.finish(episode, status, now)
            if self._failed(episode):
                reason = "error"
        elif episode is not None and self._handover.holds:
            self._handover.finish(episode, status, now)
        self._leave(reason, now)

    def _failed(self, episode: Episode) -> bool:
        """Its last rows could not be recorded."""
        self.failure = self.failure or episode.failure
        return self.failure is not None

    def _fail(self, error: BaseException, now: float) -> None:
        """The game or the policy raised. Whatever the phase: what is canonical is exported, and the match ends here."""
        if self.failure is None:
            self.failure = error
        episode = self._episode
        if episode is not None and not episode.exported:
            episode.fail(error)
            self._handover.finish(episode, "error", now)
        if self.phase is not _LEAVING:
            self._leave("error", now)

    def _leave(self, reason: str, now: float) -> None:
        episode, departures = self._episode, self._departures
        notices: dict[int, Input] = {}
        if episode is not None:
            if self._handover.beyond(episode):
                missing = departures.missing()
                notices = {link.player: self._sender.notice(link, episode, departures.flags, now) for link in missing}
            episode.recorder.clear()
        self._intake.close()
        self.phase = _LEAVING
        self._pacing.start(now)
        patience = self.start.settings.disconnect_timeout
        self._farewell = Farewell(reason, self._number, self._others, patience, now, notices)
        self._events.append(MatchEnded(reason))
