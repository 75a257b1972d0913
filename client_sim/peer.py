"""The wire peer: plays a match with other peers over packets that may be lost, repeated, reordered and late.

A state machine without I/O and without a clock. Whoever drives it (``rollgym.client_sim.runtime`` with sockets,
``rollgym.client_sim.simulator`` in virtual time) hands in packets and the time, and sends what :meth:`Peer.poll`
returns.

Phases: *meeting* (hello until everybody was heard) -> for each episode *playing* -> *ending* (the terminal frame is
canonical here; the end is re-sent until acknowledged, and inputs are re-sent as ever, because redundancy in later
packets can not protect the last ones) -> *leaving* (bye, and still answering for a moment) -> done.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from rollgym.client_sim.departures import Departures
from rollgym.client_sim.ending import Ending
from rollgym.client_sim.episode import Episode
from rollgym.client_sim.events import DesyncFound, EpisodeEnded, EpisodeStarted, MatchEnded, PeerEvent, PlayerGone
from rollgym.client_sim.link import Link
from rollgym.client_sim.rollback.errors import RollbackError
from rollgym.client_sim.rollback.session import MAX_AHEAD, Progress
from rollgym.client_sim.rollback.time_sync import stretch
from rollgym.client_sim.sending import InputSender
from rollgym.games.contract import Game
from rollgym.games.identity import identity
from rollgym.games.limits import limited
from rollgym.games.policies import Policy
from rollgym.protocol.episode import Export, Status
from rollgym.protocol.messages import MatchStart
from rollgym.protocol.packets import (
    BYE_REASONS,
    Bye,
    End,
    EndAck,
    Forward,
    Hello,
    Input,
    Packet,
    PacketError,
    decode,
    encode,
    idle_flags,
)

HELLO_INTERVAL = 0.1
"""Seconds between hellos and byes that wait for an answer: a few per round trip of a slow link."""

LEAVE_GRACE = 0.5
"""Seconds of play after a partner's connection ended: packets it sent before may still be on their way."""

LINGER = 1.5
"""Seconds to keep answering after our own match is over, and after the last packet of a partner who has not said
goodbye, so that one who lost our last packets gets them."""

CATCH_UP_AFTER = 4
"""Known frames of everybody else, beyond what the input delay explains, that show this peer is behind: it then steps
without waiting for its clock."""

AWAY_AFTER = 0.3
"""Seconds without a packet, or without being scheduled, after which a player counts as away: longer than a burst of
losses or a TCP retransmission, shorter than anybody would wait in a game."""

CATCH_UP_BATCH = 32
"""Frames caught up in one poll, so that packets and signals are looked at in between."""

CLOCK_DEBT = 4
"""Frame periods of lateness that are made up for. A longer gap was a pause, and the clock starts anew."""


class Phase(Enum):
    """Where a peer stands in its match."""

    MEETING = "meeting"
    PLAYING = "playing"
    ENDING = "ending"
    LEAVING = "leaving"
    DONE = "done"


# A member looked up in its Enum costs three times a name (before Python 3.12), and every poll asks for the phase often.
_MEETING, _PLAYING, _ENDING, _LEAVING, _DONE = Phase


class Peer:
    """One player's peer for one match.

    ``now`` is monotonic seconds everywhere, ``wall`` Unix seconds at construction. Errors of the policy or the game
    come out of :meth:`poll`; what other peers send never raises.
    """

    def __init__(
        self,
        start: MatchStart,
        game: Game,
        policy: Policy,
        *,
        policy_info: dict[str, Any],
        software: dict[str, str],
        now: float,
        wall: float,
    ) -> None:
        # 29 attributes: with one more, CPython 3.11 reads all of them a quarter slower (docs/performance.md).
        self.start = start
        self.player = start.player
        players = len(start.participants)
        self.links = {p: Link(p, players, now) for p in range(players) if p != start.player}
        self._others = tuple(self.links.values())
        self.phase = _MEETING
        self.packets_sent = 0
        self.bytes_sent = 0
        self._game_identity = identity(game.spec)
        self._game = limited(game, start.settings.frame_limit)
        self._policy = policy
        self._policy_info = policy_info
        self._software = software
        self._epoch = wall - now
        self._period = 1.0 / start.settings.fps
        self._catch_up_after = CATCH_UP_AFTER + start.settings.input_delay
        self._next_tick = now
        self._polled = now
        self._away_until = now
        """The local player was away: until then, frames that the others have played already are idle ones of his."""
        self._extra_at = float("inf")
        """When to send the inputs once more between two ticks: a second chance where packets are being lost. Streams
        lose nothing, and more packets there would only mean more that a late one holds up."""
        self._next_hello = now
        self._deadline = now + start.settings.start_timeout
        self._departures = Departures(self._others, players, start.settings.silence)
        self._ending: Ending | None = None
        self._reason = ""
        self._number = 0
        self._episode: Episode | None = None
        self._exports: list[Export] = []
        self._events: list[PeerEvent] = []
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
        running = self._episode.statistics(self._next_tick) if self._episode is not None else {}
        rtts = [link.rtt for link in self._others]
        return {
            "episode": self._number,
            "frame": self._episode.session.current if self._episode is not None else 0,
            "rtt": max(rtts, default=float("nan")),
            "ahead": max((link.sync.ahead for link in self._others), key=abs, default=0.0),
            "packets_sent": self.packets_sent,
            "bytes_sent": self.bytes_sent,
            "loss": max([link.incoming.loss for link in self._others], default=0.0),
            "refused": sum(link.refused for link in self._others),
            **running,
        }

    def next_wakeup(self, now: float) -> float:
        """When :meth:`poll` is next due; infinity when done."""
        if self.phase is _DONE:
            return float("inf")
        if self.phase is _MEETING:
            return now if self._all_met() else self._next_hello
        if self.phase is _PLAYING and self._behind():
            return now
        return min(self._next_tick, self._extra_at)

    def take_exports(self) -> list[Export]:
        """Exports of episodes that ended since the last call."""
        taken, self._exports = self._exports, []
        return taken

    def take_events(self) -> list[PeerEvent]:
        """What happened since the last call."""
        taken, self._events = self._events, []
        return taken

    def player_left(self, player: int, now: float) -> None:
        """The server says that a player's connection ended."""
        link = self.links.get(player)
        if link is not None:
            self._departures.suspect(link, "left", "partner_left", now + LEAVE_GRACE)

    def stop(self, now: float) -> None:
        """End the match here and now: the canonical prefix is exported, partners are told."""
        if self.phase in (_MEETING, _PLAYING):
            self._finish("aborted", "left", now)
        elif self.phase is _ENDING:
            self._leave("left", now)

    # -- what arrives --------------------------------------------------------------------------------------------

    def receive(self, source: int, data: bytes, now: float) -> None:
        """A packet from player ``source``, who the transport vouches for. Never raises for what is in it."""
        link = self.links.get(source)
        if link is None or self.phase is _DONE:
            return
        try:
            packet = decode(data)
        except PacketError as error:
            link.refuse(error.reason)
            return
        link.last_heard = now
        link.met = True
        if type(packet) is Input:
            self._hear_input(link, packet, now)
        elif type(packet) is End:
            self._hear_end(link, packet)
        elif type(packet) is EndAck:
            if packet.episode == self._number:
                link.end_acked = True
                link.progress_at = now
        elif type(packet) is Bye:
            self._hear_bye(link, packet, now)
        elif type(packet) is Forward:
            self._hear_forward(link, packet)

    def _hear_input(self, link: Link, packet: Input, now: float) -> None:
        episode = self._episode
        if packet.episode != self._number or episode is None or self.phase not in (_PLAYING, _ENDING):
            self._hear_of_next(link, packet.episode)
            return
        if link.gone is not None:
            return  # its inputs count only as far as the survivors agree
        session = episode.session
        if len(packet.known) != len(self.start.participants):
            link.refuse(f"status of {len(packet.known)} players: expected {len(self.start.participants)}")
            return
        acked = packet.known[self.player]
        if acked > episode.last_input:
            link.refuse(f"acknowledges frame {acked}: inputs end at {episode.last_input}")
            return
        try:
            sources = idle_flags(packet.idle, len(packet.inputs)) if packet.idle else None
            if session.add_inputs(link.player, packet.start, packet.inputs, sources):
                link.progress_at = now
        except RollbackError as error:
            link.refuse(str(error))
            return
        link.acked = max(link.acked, acked)
        link.hear(packet, now, session.current)
        if 0 <= packet.checksum_frame <= session.current + MAX_AHEAD:
            session.checksums.theirs(link.player, packet.checksum_frame, packet.checksum)
        if True in packet.gone:
            self._hear_gone(link, packet.gone, now)

    def _hear_gone(self, link: Link, gone: tuple[bool, ...], now: float) -> None:
        for player, flag in enumerate(gone):
            if flag and player in self.links and player != link.player:
                self._departures.suspect(self.links[player], f"gone for player {link.player}", "partner_silent", now)
        if gone[self.player]:
            # They play on without us; what we play from here on, nobody else does.
            self._departures.suspect(link, "holds us for gone", "partner_silent", now)

    def _hear_forward(self, link: Link, packet: Forward) -> None:
        source = self.links.get(packet.player)
        if self._episode is None or packet.episode != self._number or source is None:
            return
        if source.gone is None or link.gone is not None:
            return  # a player who is here speaks for himself
        try:
            sources = idle_flags(packet.idle, len(packet.inputs)) if packet.idle else None
            self._episode.session.add_inputs(packet.player, packet.start, packet.inputs, sources)
        except RollbackError as error:
            link.refuse(str(error))

    def _hear_end(self, link: Link, packet: End) -> None:
        if packet.episode == self._number and self.phase in (_PLAYING, _ENDING):
            link.end = packet
        else:
            self._hear_of_next(link, packet.episode)

    def _hear_of_next(self, link: Link, episode: int) -> None:
        """Whoever plays the next episode has our end of this one, and our word that we have its own."""
        if episode == self._number + 1 and link.end is not None:
            link.end_acked = True

    def _hear_bye(self, link: Link, packet: Bye, now: float) -> None:
        link.said_bye = True
        reason = BYE_REASONS[packet.reason]
        if reason == "finished":
            link.end_acked = True
            if self._number + 1 >= self.start.settings.episodes and self.phase is not _PLAYING:
                return
        status: Status = "desync" if reason == "desync" else "partner_left"
        self._departures.suspect(link, reason, status, now + LEAVE_GRACE)

    # -- time passes ---------------------------------------------------------------------------------------------

    def poll(self, now: float) -> list[tuple[int, bytes]]:
        """Do what is due at ``now``; the packets to send, as (player, bytes)."""
        out: list[tuple[int, bytes]] = []
        if now - self._polled > AWAY_AFTER:
            # Not scheduled for a while: others were not silent in a time in which nobody listened.
            for link in self._others:
                link.last_heard = min(now, link.last_heard + now - self._polled)
            self._departures.waiting_since = now
        self._polled = now
        if self.phase is _MEETING:
            self._meet(now, out)
        if self.phase is _PLAYING:
            self._play(now, out)
        if self.phase is _ENDING:
            self._end(now, out)
        if self.phase is _LEAVING:
            self._farewell(now, out)
        return out

    def _send(self, out: list[tuple[int, bytes]], player: int, packet: Packet) -> None:
        data = encode(packet)
        self.packets_sent += 1
        self.bytes_sent += len(data)
        out.append((player, data))

    def _meet(self, now: float, out: list[tuple[int, bytes]]) -> None:
        if self._all_met():
            for link in self._others:
                self._send(out, link.player, Hello(0, True))
            self._begin(0, now)
        elif now >= self._deadline:
            self._finish("partner_silent", "timeout", now)
        elif self._note_departures(now):
            self._finish(self._departures.status, "left", now)
        elif now >= self._next_hello:
            for link in self._others:
                self._send(out, link.player, Hello(0, link.met))
            self._next_hello = now + HELLO_INTERVAL

    def _all_met(self) -> bool:
        return all(link.met for link in self._others)

    def _begin(self, number: int, now: float) -> None:
        self._number = number
        for link in self._others:
            link.start_episode()
            link.last_heard = now
        self._episode = Episode(self.start, self._game, self._game_identity, self._policy, number, now)
        self._next_tick = now
        self._departures.waiting_since = now
        self.phase = _PLAYING
        self._events.append(EpisodeStarted(number, self._episode.seed))

    # -- playing -------------------------------------------------------------------------------------------------

    def _play(self, now: float, out: list[tuple[int, bytes]]) -> None:
        episode = self._present()
        if now < self._next_tick and not self._behind():
            if now >= self._extra_at:
                self._extra_at = float("inf")
                self._send_inputs(episode, now, out)
            return
        if now - self._next_tick > CLOCK_DEBT * self._period:
            # Not scheduled for a while. Frames that the others have played in the meantime are idle ones of ours.
            if self.start.settings.away == "play_on" and now - self._next_tick > AWAY_AFTER:
                self._away_until = now + AWAY_AFTER
            self._next_tick = now
        if self.start.settings.away == "play_on":
            self._widen(episode, now)
        budget = CATCH_UP_BATCH
        progress = self._settle(episode, now)
        while self.phase is _PLAYING and (now >= self._next_tick or (budget > 0 and self._behind())):
            if now >= self._next_tick:
                episode.ticks += 1
                self._next_tick += self._period * stretch(self._ahead())
            budget -= 1
            if progress is Progress.READY:
                episode.step(now, self._rtt(), float(self._advantage(episode)), away=self._catching_up(now))
            elif progress is Progress.STALLED:
                episode.stalls += 1
                if self.start.settings.max_prediction == 0:
                    episode.register()
            elif progress is Progress.OVER:
                break
            if episode.session.terminal_frame is None and now < self._next_tick and not self._behind():
                break
            progress = self._settle(episode, now)
        if self.phase is not _PLAYING:
            return
        if progress is Progress.OVER:
            self._over(episode, now)
            return
        self._send_inputs(episode, now, out)
        lossy = any([link.reported_loss for link in self._others])
        self._extra_at = now + self._period / 2 if lossy else float("inf")
        if progress is Progress.READY:
            self._departures.waiting_since = now
        else:
            self._departures.wait(now)
        self._part(episode, now, out)

    def _catching_up(self, now: float) -> bool:
        if now >= self._away_until or not self._behind():
            return False
        # What the others sent meanwhile comes in bit by bit.
        self._away_until = now + AWAY_AFTER
        return True

    def _widen(self, episode: Episode, now: float) -> None:
        """Play on without those who are away: the window grows as far as ``away_limit`` allows, and closes again."""
        silence = now - min([link.last_heard for link in self._others if link.gone is None], default=now)
        play = self.start.settings
        away = silence > AWAY_AFTER
        episode.session.window = (
            max(play.max_prediction, int(play.away_limit * play.fps)) if away else play.max_prediction
        )

    def _present(self) -> Episode:
        assert self._episode is not None
        return self._episode

    def _settle(self, episode: Episode, now: float) -> Progress:
        progress = episode.settle(now)
        for one in episode.session.take_desyncs():
            found = DesyncFound(episode.number, one.frame, one.player, f"{one.local:016x}", f"{one.remote:016x}")
            episode.desyncs.append(found)
            self._events.append(found)
            if self.start.settings.on_desync == "stop":
                self._finish("desync", "desync", now)
        return progress

    def _behind(self) -> bool:
        """Everybody else's inputs are known well beyond our present frame."""
        episode = self._episode
        if episode is None:
            return False
        session = episode.session
        ahead = session.remote_known - session.current
        # Those who are gone are known for ever: without anybody else there is nobody to be behind of.
        if ahead < self._catch_up_after or ahead > MAX_AHEAD:
            return False
        return session.terminal_frame is None

    def _ahead(self) -> float:
        return max([link.sync.ahead for link in self._others]) if self._others else 0.0

    def _advantage(self, episode: Episode) -> int:
        # The largest lead is the one over whom we have heard the least of.
        return episode.session.current - min([link.current for link in self._others]) if self._others else 0

    def _rtt(self) -> float:
        return max([link.rtt for link in self._others]) if self._others else float("nan")

    def _send_inputs(self, episode: Episode, now: float, out: list[tuple[int, bytes]]) -> None:
        session = episode.session
        known, gone = session.known(), self._departures.flags
        acked = episode.last_input
        for link in self._others:
            if link.gone is None:
                for packet in self._sender.packets(link, episode, known, gone, now):
                    self._send(out, link.player, packet)
                acked = min(acked, link.acked)
        episode.forget_inputs(acked)

    # -- players who leave ---------------------------------------------------------------------------------------

    def _note_departures(self, now: float) -> bool:
        """Whoever has been silent for too long, or said that he goes, is gone. True if anybody is."""
        for link in self._departures.due(now):
            self._events.append(PlayerGone(link.player, link.gone or ""))
        return self._departures.any_gone

    def _part(self, episode: Episode, now: float, out: list[tuple[int, bytes]]) -> None:
        """Carry out what departures mean for the running episode."""
        if not self._note_departures(now):
            return
        if self._departures.status == "desync" or all(link.holds_gone[self.player] for link in self._others):
            # The others end it or have ended it; there is nothing to agree on.
            self._finish(self._departures.status, "left", now)
            return
        for player, packet in self._departures.hand_on(episode.session, episode.number, now):
            self._send(out, player, packet)
        for link in self._others:
            if link.gone is None or link.parted:
                continue
            last = self._departures.agreed(link, episode.session)
            if last is None:
                continue
            link.parted = True
            if self.start.settings.on_disconnect == "continue":
                episode.session.disconnect(link.player, last)
                for other in self._others:
                    if other.gone is not None:
                        # It may have known inputs of this one that no survivor has, and reached other states with them.
                        episode.session.checksums.forget(other.player)
            else:
                episode.session.end_after(last)

    # -- the end of an episode and of the match ------------------------------------------------------------------

    def _export(self, episode: Episode, status: Status, now: float) -> Export:
        export = episode.export(status, now, self._epoch + now, self._policy_info, self._software)
        self._exports.append(export)
        tail = export.own.tail
        unconfirmed = len(tail.inputs) if tail is not None else 0
        self._events.append(
            EpisodeEnded(episode.number, status, export.header.frames, unconfirmed, dict(export.own.stats))
        )
        return export

    def _over(self, episode: Episode, now: float) -> None:
        """Its last frame is canonical: the one that ended it, or the last one the survivors agreed on.

        In both cases the others may still lack our inputs for it, so nobody leaves before all have it.
        """
        export = self._export(episode, "complete" if episode.complete else self._departures.status, now)
        self._ending = Ending(episode.number, export.header.frames, export.digest, self._others, now)
        self.phase = _ENDING
        self._departures.waiting_since = now
        self._extra_at = float("inf")
        self._next_tick = now

    def _end(self, now: float, out: list[tuple[int, bytes]]) -> None:
        episode, ending = self._present(), self._ending
        assert ending is not None
        if now >= self._next_tick:
            self._next_tick = now + self._period
            # The partner may still lack our last inputs.
            self._send_inputs(episode, now, out)
        for player, packet in ending.packets(now):
            self._send(out, player, packet)
        if not ending.settled:
            self._departures.wait(now)
            if self._note_departures(now):
                # Nobody else may have the last inputs of the gone, without which others do not come to this end.
                for player, forward in self._departures.hand_on(episode.session, episode.number, now):
                    self._send(out, player, forward)
            return
        # A partial episode is a prefix, which may be longer at a peer that is gone.
        nobody_left = all(queue.closed is None for queue in episode.session.queues)
        differences = ending.differences(of_the_gone=nobody_left) if episode.complete else []
        self._events.extend(differences)
        episode.recorder.clear()
        last = episode.number + 1 >= self.start.settings.episodes
        if differences and self.start.settings.on_desync == "stop":
            self._leave("desync", now)
        elif last and episode.complete and all(link.end is not None for link in self._others):
            # Whoever is gone by now has played the whole match.
            self._leave("finished", now)
        elif last or (self._departures.any_gone and self.start.settings.on_disconnect == "end"):
            self._leave("left", now)
        else:
            self._begin(episode.number + 1, now)

    def _finish(self, status: Status, reason: str, now: float) -> None:
        """The match ends before its time: export what is canonical, and go."""
        episode = self._episode
        if episode is not None and self._playing():
            # What arrived since the last tick counts: it may confirm frames, and even the last one.
            self._settle(episode, now)
            if not self._playing():
                return  # states differ, which ended the match there
            if status != "desync" and episode.complete:
                status = "complete"
            self._export(episode, status, now)
        self._leave(reason, now)

    def _playing(self) -> bool:
        return self.phase is _PLAYING

    def _leave(self, reason: str, now: float) -> None:
        if self._episode is not None:
            self._episode.recorder.clear()
        self.phase = _LEAVING
        self._extra_at = float("inf")
        self._reason = reason
        self._deadline = now + LINGER
        self._next_tick = now
        self._events.append(MatchEnded(reason))

    def _farewell(self, now: float, out: list[tuple[int, bytes]]) -> None:
        if now < self._next_tick:
            return
        self._next_tick = now + HELLO_INTERVAL
        code = BYE_REASONS.index(self._reason)
        for link in self._others:
            self._send(out, link.player, Bye(self._number, code))
        waiting = [link for link in self._others if not link.said_bye and link.gone is None]
        # A partner who still talks may have lost every bye so far, and would wait for us in vain.
        talking = now < self._deadline + self.start.settings.disconnect_timeout and any(
            now - link.last_heard < LINGER for link in waiting
        )
        if not waiting or (now >= self._deadline and not talking):
            self.phase = _DONE
