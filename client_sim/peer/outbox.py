"""Packets on their way to the other players."""

from __future__ import annotations

from collections.abc import Iterable

from rollgym.protocol.packets import Packet, encode


class Outbox:
    """Holds what is to be sent until the driver takes it, and counts it."""

    __slots__ = ("_waiting", "bytes_sent", "packets_sent")

    def __init__(self) -> None:
        self.packets_sent = 0
        self.bytes_sent = 0
        self._waiting: list[tuple[int, bytes]] = []

    def send(self, player: int, packet: Packet) -> None:
        """To ``player``."""
        data = encode(packet)
        self.packets_sent += 1
        self.bytes_sent += len(data)
        self._waiting.append((player, data))

    def send_all(self, packets: Iterable[tuple[int, Packet]]) -> None:
        """Each to its player."""
        for player, packet in packets:
            self.send(player, packet)

    def take(self) -> list[tuple[int, bytes]]:
        """What was sent since the last call, as (player, bytes)."""
        taken, self._waiting = self._waiting, []
        return taken
