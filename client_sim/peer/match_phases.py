"""The phases of a match at one peer, and what leads from one to the next.

*Meeting* (hello until everybody was heard) -> for each episode *playing* -> *ending* (the terminal frame is canonical
here; the end is re-sent until acknowledged, and inputs are re-sent as ever, because redundancy in later packets cannot
protect the last ones) -> *leaving* (bye, and still answering for a moment) -> done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.episode_end import EpisodeEnd
from rollgym.client_sim.peer.events import EpisodeStarted, MatchEnded, PeerEvent, PlayerGone
from rollgym.client_sim.peer.farewell import Farewell
from rollgym.client_sim.peer.handover import Handover
from rollgym.client_sim.peer.input_sender import InputSender
from rollgym.client_sim.peer.intake import Intake
from rollgym.client_sim.peer.meeting import Meeting
from rollgym.client_sim.peer.outbox import Outbox
from rollgym.client_sim.peer.pacing import AWAY_AFTER, NEVER, Pacing
from rollgym.client_sim.peer.phase import PeerPhase
from rollgym.client_sim.peer.playing import Playing
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.rollback.session import SessionProgress
from rollgym.protocol.episode.export import Status
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Input

# A member looked up in its Enum costs three times a name (before Python 3.12), and every poll asks for the phase often.
_MEETING, _PLAYING, _ENDING, _LEAVING, _DONE = PeerPhase


class MatchPhases:
    """Where one peer stands in its match. What it sends and tells of is left in ``outbox`` and ``events``.

    ``begin_episode`` makes an episode from its number and the time; what it raises ends the match like anything else
    that the game raises.
    """

    def __init__(
        self,
        settings: PlaySettings,
        begin_episode: Callable[[int, float], Episode],
        others: Sequence[RemotePeer],
        now: float,
        *,
        departures: DisconnectAgreement,
        intake: Intake,
        handover: Handover,
        sender: InputSender,
        outbox: Outbox,
        events: list[PeerEvent],
    ) -> None:
        self.phase = _MEETING
        self.failure: BaseException | None = None
        """What the game or the policy raised."""
        self.number = 0
        """Of the present episode."""
        self.episode: Episode | None = None
        """The present one, or the last one."""
        self.pacing = Pacing(settings, now)
        self._settings = settings
        self._begin_episode = begin_episode
        self._others = others
        self._departures = departures
        self._intake = intake
        self._handover = handover
        self._sender = sender
        self._outbox = outbox
        self._events = events
        self._meeting = Meeting(others, settings.start_timeout, now)
        self._playing = Playing(settings, self.pacing, others)
        self._ending: EpisodeEnd | None = None
        self._farewell: Farewell | None = None

    # -- time passes ---------------------------------------------------------------------------------------------

    def next_wakeup(self, now: float) -> float:
        """When :meth:`advance` is next due; infinity when done."""
        if self.phase is _PLAYING:
            pacing, episode = self.pacing, self.episode
            if episode is not None and pacing.behind(episode.session):
                return now
            return min(pacing.next_tick, pacing.extra_at)
        if self.phase is _MEETING:
            return now if self._meeting.complete else self._meeting.next_hello
        if self._farewell is not None:
            return NEVER if self.phase is _DONE else self._farewell.next
        return self.pacing.next_tick

    def advance(self, now: float) -> None:
        """Do what is due at ``now``. Raises ``KeyboardInterrupt`` and nothing else."""
        gap = now - self.pacing.polled
        self.pacing.polled = now
        if gap > AWAY_AFTER:
            # Not scheduled for a while: others were not silent in a time in which nobody listened.
            self._departures.excuse(gap, now)
        try:
            if self.phase is _MEETING:
                self._meet(now)
            if self.phase is _PLAYING:
                self._play(now)
            if self.phase is _ENDING:
                self._end(now)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a game raises is its peer's failure
            self._fail(error, now)
        if self.phase is _LEAVING and self._farewell is not None:
            self._outbox.send_all(self._farewell.packets(now))
            if self._farewell.done:
                self.phase = _DONE

    def stop(self, now: float) -> None:
        """End the match here and now. Raises as :meth:`advance`."""
        if self.phase in (_MEETING, _PLAYING, _ENDING):
            try:
                self._finish("aborted", "left", now)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a game raises is its peer's failure
                self._fail(error, now)

    # -- meeting -------------------------------------------------------------------------------------------------

    def _meet(self, now: float) -> None:
        meeting = self._meeting
        late = now >= meeting.deadline
        if self._departures.dropped or (not meeting.complete and (late or self._note_departures(now))):
            self._finish(self._departures.status, "timeout" if late else "left", now)
            return
        self._outbox.send_all(meeting.packets(now))
        if meeting.complete:
            self._begin(0, now)

    def _begin(self, number: int, now: float) -> None:
        self.number = number
        self._handover.begin()
        for remote in self._others:
            remote.start_episode()
            remote.last_heard = remote.played_at = now
        self.episode = self._begin_episode(number, now)
        self._intake.begin(number, self.episode)
        self.pacing.start(now)
        self._departures.waiting_since = now
        self.phase = _PLAYING
        self._events.append(EpisodeStarted(number, self.episode.seed))

    # -- playing -------------------------------------------------------------------------------------------------

    def _play(self, now: float) -> None:
        episode, pacing = self._present(), self.pacing
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
                self._sender.send(episode, now)
            return
        if now - pacing.next_tick > pacing.debt:
            pacing.skip(now)
        if pacing.plays_on:
            pacing.widen(session, self._departures.longest_pause(now))
        progress = self._playing.advance(episode, now)
        if episode.desyncs and self._desynced(episode):
            self._finish("desync", "desync", now)
            return
        if progress is SessionProgress.OVER:
            self._over(episode, now)
            return
        self._sender.send(episode, now)
        pacing.plan_extra(now, any([remote.reported_loss for remote in self._others]))
        if progress is SessionProgress.READY:
            self._departures.waiting_since = now
        else:
            self._departures.wait(now, self._departures.slowest(session), session)
        self._part(episode, now)

    def _present(self) -> Episode:
        assert self.episode is not None
        return self.episode

    def _desynced(self, episode: Episode) -> bool:
        """Tell of states that differ; whether that ends the match."""
        for found in episode.take_desyncs():
            self._events.append(found)
        return bool(episode.desyncs) and self._settings.on_desync == "stop"

    # -- players who leave ---------------------------------------------------------------------------------------

    def _note_departures(self, now: float) -> bool:
        """Whoever has been silent for too long, or said that it goes, is gone. True if anybody is."""
        for remote in self._departures.due(now):
            self._events.append(PlayerGone(remote.player, remote.gone or ""))
        return self._departures.any_gone

    def _part(self, episode: Episode, now: float) -> None:
        """Carry out what departures mean for the running episode."""
        departures = self._departures
        if not self._note_departures(now):
            return
        if departures.ends_at_once:
            self._finish(departures.status, "left", now)
        else:
            self._outbox.send_all(departures.hand_on(episode.session, episode.number, now))
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
        self._ending = EpisodeEnd(episode.number, export.header.frames, export.digest, self._others, now)
        self.phase = _ENDING
        self._departures.waiting_since = now
        self.pacing.start(now)

    def _end(self, now: float) -> None:
        episode, ending, departures = self._present(), self._ending, self._departures
        assert ending is not None
        self._handover.release(episode)
        if departures.dropped:
            self._finish("partner_silent", "dropped", now)
            return
        if now >= self.pacing.next_tick:
            self.pacing.next_tick = now + self.pacing.period
            # The partner may still lack our last inputs.
            self._sender.send(episode, now)
        self._outbox.send_all(ending.packets(now))
        if not ending.settled:
            departures.wait(now, ending.awaited, episode.session)
            if self._note_departures(now):
                # Nobody else may have the last inputs of the gone, without which others do not come to this end.
                self._outbox.send_all(departures.hand_on(episode.session, episode.number, now))
            return
        if self._handover.holds:
            # Somebody who is missing may play on without us: its own word could still come.
            if now - departures.waiting_since >= departures.silence:
                self._finish("partner_silent", "left", now)
            return
        # A partial episode is a prefix, which may be longer at a peer that is gone.
        differences = ending.differences(episode.session) if episode.complete else []
        self._events.extend(differences)
        last = episode.number + 1 >= self._settings.episodes
        if differences and self._settings.on_desync == "stop":
            self._leave("desync", now)
        elif last and episode.complete and all(remote.end is not None for remote in self._others):
            # Whoever is gone by now has played the whole match.
            self._leave("finished", now)
        elif last or (departures.any_gone and not departures.goes_on):
            self._leave("left", now)
        else:
            episode.recorder.clear()
            self._begin(episode.number + 1, now)

    def _finish(self, status: Status, reason: str, now: float) -> None:
        """The match ends before its time: export what is canonical, and go."""
        episode = self.episode
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
        episode = self.episode
        if episode is not None and not episode.exported:
            episode.fail(error)
            self._handover.finish(episode, "error", now)
        if self.phase is not _LEAVING:
            self._leave("error", now)

    def _leave(self, reason: str, now: float) -> None:
        episode, departures = self.episode, self._departures
        notices: dict[int, Input] = {}
        if episode is not None:
            if self._handover.beyond(episode):
                missing = departures.missing()
                notices = {
                    remote.player: self._sender.notice(remote, episode, departures.flags, now) for remote in missing
                }
            episode.recorder.clear()
        self._intake.close()
        self.phase = _LEAVING
        self.pacing.start(now)
        patience = self._settings.disconnect_timeout
        self._farewell = Farewell(reason, self.number, self._others, patience, now, notices)
        self._events.append(MatchEnded(reason))
