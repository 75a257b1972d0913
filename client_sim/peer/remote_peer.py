"""What a peer knows of one other peer: acknowledgements, round trip, time sync, how the episode's end stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollgym.client_sim.rollback.time_sync import TimeSync
from rollgym.protocol.episode.export import Status
from rollgym.protocol.packets import ADVANTAGE_UNIT, NO_ECHO, End, Input

_CLOCK = 1 << 32
_TICKS = 10_000
"""Packet timestamps count tenths of a millisecond."""

RTT_SMOOTHING = 0.125
"""Weight of a new sample, as in TCP (RFC 6298)."""


def timestamp(now: float) -> int:
    """A packet's timestamp for a time in seconds."""
    return int(now * _TICKS) % _CLOCK


LOSS_WINDOW = 64
"""Packets over which loss is counted: about a second at 60 frames a second."""


class LossMeter:
    """How many of the other's packets go missing, from the gaps in their sequence numbers."""

    def __init__(self) -> None:
        self.loss = 0.0
        """Share lost, smoothed over the last windows."""
        self.as_byte = 0
        """The loss in 255ths, as packets report it."""
        self._newest = -1
        self._window = 0
        self._counted = 0

    def count(self, sequence: int) -> bool:
        """A packet with this sequence number (modulo 2**16) arrived. True if it is the newest so far."""
        step = ((sequence - self._newest + 0x8000) & 0xFFFF) - 0x8000
        place = self._newest + step
        if step > 0:
            self._newest = place
        window = place // LOSS_WINDOW
        if window > self._window:
            expected = (window - self._window) * LOSS_WINDOW
            self.loss += 0.5 * (max(0.0, 1.0 - self._counted / expected) - self.loss)
            self.as_byte = min(255, round(self.loss * 255))
            self._window, self._counted = window, 0
        if window == self._window:
            self._counted += 1
        return step > 0


class RemotePeer:
    """One other peer, seen from here."""

    def __init__(self, player: int, players: int, now: float) -> None:
        self.player = player
        self._players = players
        self.sync = TimeSync()
        self.met = False
        """Anything at all was heard."""
        self.last_heard = now
        self.played_at = now
        """When its last packet of inputs came: its client can speak for it, but not play."""
        self.progress_at = now
        """When it last sent something that brings the episode on."""
        self.leaves: tuple[float, str, Status] | None = None
        """When it counts as gone, why, and what that makes of the episode, if it is about to leave."""
        self.gone: str | None = None
        """Why it left, if it did."""
        self.sent_bye = False
        self.left_for_good = False
        """It has left, by its own word or the server's: its record ends, and it will not play on without us."""
        self.rtt = float("nan")
        self.incoming = LossMeter()
        self.reported_loss = 0
        """What the other says of our packets, in 255ths. 0 on a stream, which loses nothing."""
        self.sent = 0
        """Input packets sent to it."""
        self._echo = 0
        self._echo_at: float | None = None
        self.refused = 0
        self.refusal = ""
        self.start_episode()

    def start_episode(self) -> None:
        """Forget what belonged to the last episode."""
        self.sync = TimeSync()
        self.parted = False
        """It is gone, and its last input of this episode is agreed on."""
        self.acked = -1
        """The last frame of our inputs that the other has."""
        self.current = 0
        self.known: tuple[int, ...] = (-1,) * self._players
        """Per player, the last frame up to which the other says that it has all inputs."""
        self.holds_gone: tuple[bool, ...] = (False,) * self._players
        """Per player, whether the other holds it for gone."""
        self.end: End | None = None
        self.end_acked = False

    def echo(self, now: float) -> tuple[int, int]:
        """The other's newest timestamp and how long ago it came, for the next packet to it."""
        if self._echo_at is None:
            return 0, NO_ECHO
        return self._echo, min(int((now - self._echo_at) * _TICKS), NO_ECHO - 1)

    def on_packet(self, packet: Input, now: float, local_current: int) -> None:
        """Take in the timing of a packet of the present episode."""
        if packet.current > self.current:
            self.progress_at = now
        if self.incoming.count(packet.sequence):
            self.known, self.holds_gone = packet.known, packet.gone
        self.reported_loss = packet.loss
        if packet.echo_age != NO_ECHO and packet.echo_age != NO_ECHO - 1:
            sample = ((timestamp(now) - packet.echo - packet.echo_age) % _CLOCK) / _TICKS
            if sample < 60.0:
                self.rtt = sample if self.rtt != self.rtt else self.rtt + RTT_SMOOTHING * (sample - self.rtt)
        self._echo, self._echo_at = packet.sent, now
        if packet.current >= self.current:
            # An overtaken packet says nothing about the present.
            self.current = packet.current
            self.sync.on_packet(local_current - packet.current, packet.advantage / ADVANTAGE_UNIT)

    def refuse(self, reason: str) -> None:
        """Count something that made no sense."""
        self.refused += 1
        self.refusal = reason


def connection_totals(remotes: Sequence[RemotePeer]) -> dict[str, Any]:
    """The worst round trip (seconds), lead (frames) and loss over all partners, and how much of theirs was refused."""
    return {
        "rtt": max([remote.rtt for remote in remotes], default=float("nan")),
        "ahead": max([remote.sync.ahead for remote in remotes], key=abs, default=0.0),
        "loss": max([remote.incoming.loss for remote in remotes], default=0.0),
        "refused": sum(remote.refused for remote in remotes),
    }
