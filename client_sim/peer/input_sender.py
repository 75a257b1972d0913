"""The packets a peer sends at every tick."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.outbox import Outbox
from rollgym.client_sim.peer.remote_peer import RemotePeer, timestamp
from rollgym.protocol.packets import ADVANTAGE_UNIT, NO_ECHO, Input, inputs_that_fit

PACKETS_PER_TICK = 4
"""Packets of inputs to one peer in one tick. One is the rule; more only after a long silence."""


class InputSender:
    """Sends the input packets: all local inputs a peer has not acknowledged, and what we know."""

    def __init__(
        self, players: int, width: int, others: Sequence[RemotePeer], departures: DisconnectAgreement, outbox: Outbox
    ) -> None:
        self._fit = inputs_that_fit(players, width)
        self._others = others
        self._departures = departures
        self._outbox = outbox

    def send(self, episode: Episode, now: float) -> None:
        """To everybody who is there what it needs now; and to whoever may come back that it is held for gone."""
        known, gone = episode.session.inputs.known(), self._departures.flags
        acked = episode.unsent.last
        for remote in self._others:
            if remote.gone is None:
                for packet in self._packets(remote, episode, known, gone, now):
                    self._outbox.send(remote.player, packet)
                acked = min(acked, remote.acked)
        episode.unsent.forget(acked)
        if self._departures.any_gone:
            for remote in self._departures.notices(now):
                self._outbox.send(remote.player, self.notice(remote, episode, gone, now))

    def notice(self, remote: RemotePeer, episode: Episode, gone: tuple[bool, ...], now: float) -> Input:
        """For a player who is held for gone and may come back: that it is, and up to where its inputs count."""
        remote.sent += 1
        frame, known = episode.session.current, episode.session.inputs.known()
        return Input(
            episode.number, 0, (), frame, 0, known, gone, timestamp(now), 0, NO_ECHO, -1, 0, remote.sent & 0xFFFF, 0
        )

    def _packets(
        self, remote: RemotePeer, episode: Episode, known: tuple[int, ...], gone: tuple[bool, ...], now: float
    ) -> list[Input]:
        """What ``remote``'s player needs now. At least one packet, even with nothing new: it acknowledges."""
        session = episode.session
        checksum_frame, checksum = session.checksums.newest or (-1, 0)
        echo, age = remote.echo(now)
        advantage = round(remote.sync.local * ADVANTAGE_UNIT)
        if not -32768 <= advantage <= 32767:
            advantage = 32767 if advantage > 0 else -32768
        acked, last = remote.acked, episode.unsent.last
        sent = timestamp(now)
        packets: list[Input] = []
        for _ in range(PACKETS_PER_TICK):
            start, inputs, idle = episode.unsent.after(acked, self._fit)
            packet = Input(
                episode.number,
                start,
                inputs,
                session.current,
                advantage,
                known,
                gone,
                sent,
                echo,
                age,
                checksum_frame,
                checksum,
                remote.sent & 0xFFFF,
                remote.incoming.as_byte,
                idle,
            )
            packets.append(packet)
            remote.sent += 1
            acked += len(inputs)
            if acked >= last:
                break
        return packets
