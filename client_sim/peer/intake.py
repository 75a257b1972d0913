"""What arrives at a peer: each packet is checked against what can be true, and only then taken in.

A packet that is refused changes nothing but a counter. That its sender is alive, every packet says that decodes.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollgym.client_sim.peer.disconnect_agreement import Departures
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.remote_peer import Link
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

    def __init__(self, start: MatchStart, links: Mapping[int, Link], departures: Departures) -> None:
        self._player = start.player
        self._players = len(start.participants)
        # Nobody gets further beyond the slowest than its window allows.
        self._ahead = MAX_AHEAD + max(
            start.settings.max_prediction, int(start.settings.away_limit * start.settings.fps)
        )
        self._last_episode = start.settings.episodes - 1
        self._links = links
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
        link = self._links.get(source)
        if link is None:
            return
        try:
            packet = decode(data)
        except PacketError as error:
            link.refuse(error.reason)
            return
        link.last_heard = now
        link.met = True
        if type(packet) is Input:
            link.played_at = now
            self._hear_input(link, packet, now)
        elif type(packet) is End:
            self._hear_end(link, packet, now)
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
        if True in packet.gone and self._departures.goes_on and self._hear_dropped(link, packet):
            return
        if packet.episode != self._number or episode is None or not self._open:
            self._hear_of_next(link, packet.episode)
            return
        if link.gone is not None:
            return  # its inputs count only as far as the survivors agree
        session = episode.session
        known = packet.known
        if len(known) != self._players:
            link.refuse(f"status of {len(known)} players: expected {self._players}")
            return
        acked = known[self._player]
        if acked > episode.unsent.last:
            link.refuse(f"acknowledges frame {acked}: inputs end at {episode.unsent.last}")
            return
        furthest = session.current + self._ahead
        if packet.current > furthest or (self._players > 2 and max(known) > furthest):
            link.refuse(f"is at frame {packet.current} and knows {known}: expected at most {furthest}")
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

    def _hear_dropped(self, link: Link, packet: Input) -> bool:
        """Whether the sender holds us for gone, in this episode or a later one, and plays on."""
        players = len(packet.gone)
        if not self._open or packet.episode < self._number or players != self._players:
            return False
        if not packet.gone[self._player]:
            return False
        if packet.episode == self._number and self._episode is not None:
            acked = packet.known[self._player]
            if acked <= self._episode.unsent.last:
                link.acked = max(link.acked, acked)
                link.known = tuple(map(max, link.known, packet.known))
        self._departures.drop(link)
        return True

    def _hear_gone(self, link: Link, gone: tuple[bool, ...], now: float) -> None:
        for player, flag in enumerate(gone):
            if flag and player in self._links and player != link.player:
                self._departures.suspect(self._links[player], f"gone for player {link.player}", "partner_silent", now)
        if gone[self._player]:
            # They play on without us; what we play from here on, nobody else does.
            self._departures.suspect(link, "holds us for gone", "partner_silent", now)

    def _hear_forward(self, link: Link, packet: Forward) -> None:
        source = self._links.get(packet.player)
        if self._episode is None or packet.episode != self._number or source is None or not self._open:
            return
        if source.gone is None or link.gone is not None:
            return  # a player who is here speaks for itself
        try:
            sources = idle_flags(packet.idle, len(packet.inputs)) if packet.idle else None
            self._episode.session.add_inputs(packet.player, packet.start, packet.inputs, sources)
        except RollbackError as error:
            link.refuse(str(error))

    def _hear_end(self, link: Link, packet: End, now: float) -> None:
        if packet.episode == self._number and self._open:
            if link.end is None:
                link.progress_at = now
            link.end = packet
        else:
            self._hear_of_next(link, packet.episode)

    def _hear_of_next(self, link: Link, episode: int) -> None:
        """Whoever plays the next episode has our end of this one, and our word that we have its own."""
        if episode == self._number + 1 and link.end is not None:
            link.end_acked = True

    def _hear_bye(self, link: Link, packet: Bye, now: float) -> None:
        link.said_bye = True
        link.gave_word = True
        reason = BYE_REASONS[packet.reason]
        if reason == "finished":
            link.end_acked = True
            if self._number >= self._last_episode and self._episode is not None and self._episode.ended:
                return
        if packet.episode > self._number and self._departures.goes_on and self._open:
            self._departures.drop(link)  # it played a later episode, without us
        status: Status = "desync" if reason == "desync" else "partner_left"
        self._departures.suspect(link, reason, status, now + LEAVE_GRACE)
