"""What arrives at a peer: each packet is checked against what can be true, and only then taken in.

A packet that is refused changes nothing but a counter. That its sender is alive, every packet says that decodes.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.rollback.errors import RollbackError
from rollgym.client_sim.rollback.input_book import MAX_AHEAD
from rollgym.protocol.episode.export import Status
from rollgym.protocol.messages import MatchStart
from rollgym.protocol.packets import (
    BYE_REASONS,
    Bye,
    End,
    EndAck,
    Forward,
    Input,
    PacketError,
    decode,
    idle_flags,
)

LEAVE_GRACE = 0.5
"""Seconds of play after a partner's connection ended: packets it sent before may still be on their way."""


class Intake:
    """Everything one peer hears from the others of its match."""

    def __init__(self, start: MatchStart, remotes: Mapping[int, RemotePeer], departures: DisconnectAgreement) -> None:
        self._player = start.player
        self._players = len(start.participants)
        # Nobody gets further beyond the slowest than its window allows.
        self._ahead = MAX_AHEAD + max(
            start.settings.max_prediction, int(start.settings.away_limit * start.settings.fps)
        )
        self._last_episode = start.settings.episodes - 1
        self._remotes = remotes
        self._departures = departures
        self._number = 0
        self._episode: Episode | None = None
        self._open = False

    def begin(self, number: int, episode: Episode) -> None:
        """Packets of this episode count from now on."""
        self._number, self._episode, self._open = number, episode, True

    def close(self) -> None:
        """Nothing is played any more: only goodbyes count."""
        self._open = False

    def receive(self, source: int, data: bytes, now: float) -> None:
        """A packet from player ``source``, for whom the transport vouches. Never raises for what is in it."""
        remote = self._remotes.get(source)
        if remote is None:
            return
        try:
            packet = decode(data)
        except PacketError as error:
            remote.refuse(error.reason)
            return
        remote.last_heard = now
        remote.met = True
        if type(packet) is Input:
            remote.played_at = now
            self._on_input(remote, packet, now)
        elif type(packet) is End:
            self._on_end(remote, packet, now)
        elif type(packet) is EndAck:
            if packet.episode == self._number:
                remote.end_acked = True
                remote.progress_at = now
        elif type(packet) is Bye:
            self._on_bye(remote, packet, now)
        elif type(packet) is Forward:
            self._on_forward(remote, packet)

    def _on_input(self, remote: RemotePeer, packet: Input, now: float) -> None:
        episode = self._episode
        if True in packet.gone and self._departures.goes_on and self._on_dropped(remote, packet):
            return
        if packet.episode != self._number or episode is None or not self._open:
            self._on_next_episode(remote, packet.episode)
            return
        if remote.gone is not None:
            return  # its inputs count only as far as the survivors agree
        session = episode.session
        known = packet.known
        if len(known) != self._players:
            remote.refuse(f"status of {len(known)} players: expected {self._players}")
            return
        acked = known[self._player]
        if acked > episode.unsent.last:
            remote.refuse(f"acknowledges frame {acked}: inputs end at {episode.unsent.last}")
            return
        furthest = session.current + self._ahead
        if packet.current > furthest or (self._players > 2 and max(known) > furthest):
            remote.refuse(f"is at frame {packet.current} and knows {known}: expected at most {furthest}")
            return
        try:
            sources = idle_flags(packet.idle, len(packet.inputs)) if packet.idle else None
            if session.add_inputs(remote.player, packet.start, packet.inputs, sources):
                remote.progress_at = now
        except RollbackError as error:
            remote.refuse(str(error))
            return
        remote.acked = max(remote.acked, acked)
        remote.on_packet(packet, now, session.current)
        if 0 <= packet.checksum_frame <= session.current + MAX_AHEAD:
            session.checksums.theirs(remote.player, packet.checksum_frame, packet.checksum)
        if True in packet.gone:
            self._on_gone(remote, packet.gone, now)

    def _on_dropped(self, remote: RemotePeer, packet: Input) -> bool:
        """Whether the sender holds us for gone, in this episode or a later one, and plays on."""
        players = len(packet.gone)
        if not self._open or packet.episode < self._number or players != self._players:
            return False
        if not packet.gone[self._player]:
            return False
        if packet.episode == self._number and self._episode is not None:
            acked = packet.known[self._player]
            if acked <= self._episode.unsent.last:
                remote.acked = max(remote.acked, acked)
                remote.known = tuple(map(max, remote.known, packet.known))
        self._departures.drop(remote)
        return True

    def _on_gone(self, remote: RemotePeer, gone: tuple[bool, ...], now: float) -> None:
        for player, flag in enumerate(gone):
            if flag and player in self._remotes and player != remote.player:
                self._departures.suspect(
                    self._remotes[player], f"gone for player {remote.player}", "partner_silent", now
                )
        if gone[self._player]:
            # They play on without us; what we play from here on, nobody else does.
            self._departures.suspect(remote, "holds us for gone", "partner_silent", now)

    def _on_forward(self, remote: RemotePeer, packet: Forward) -> None:
        source = self._remotes.get(packet.player)
        if self._episode is None or packet.episode != self._number or source is None or not self._open:
            return
        if source.gone is None or remote.gone is not None:
            return  # a player who is here speaks for itself
        try:
            sources = idle_flags(packet.idle, len(packet.inputs)) if packet.idle else None
            self._episode.session.add_inputs(packet.player, packet.start, packet.inputs, sources)
        except RollbackError as error:
            remote.refuse(str(error))

    def _on_end(self, remote: RemotePeer, packet: End, now: float) -> None:
        if packet.episode == self._number and self._open:
            if remote.end is None:
                remote.progress_at = now
            remote.end = packet
        else:
            self._on_next_episode(remote, packet.episode)

    def _on_next_episode(self, remote: RemotePeer, episode: int) -> None:
        """Whoever plays the next episode has our end of this one, and our word that we have its own."""
        if episode == self._number + 1 and remote.end is not None:
            remote.end_acked = True

    def _on_bye(self, remote: RemotePeer, packet: Bye, now: float) -> None:
        remote.sent_bye = True
        remote.left_for_good = True
        reason = BYE_REASONS[packet.reason]
        if reason == "finished":
            remote.end_acked = True
            if self._number >= self._last_episode and self._episode is not None and self._episode.ended:
                return
        if packet.episode > self._number and self._departures.goes_on and self._open:
            self._departures.drop(remote)  # it played a later episode, without us
        status: Status = "desync" if reason == "desync" else "partner_left"
        self._departures.suspect(remote, reason, status, now + LEAVE_GRACE)
