"""Before the first episode: hello until everybody was heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.protocol.packets import Hello

HELLO_INTERVAL = 0.1
"""Seconds between hellos and byes that wait for an answer: a few per round trip of a slow remote."""


class Meeting:
    """One peer's wait for the others of its match. It lasts ``timeout`` seconds at most."""

    def __init__(self, remotes: Sequence[RemotePeer], timeout: float, now: float) -> None:
        self._remotes = remotes
        self.deadline = now + timeout
        self.next_hello = now

    @property
    def complete(self) -> bool:
        """Everybody was heard."""
        return all([remote.met for remote in self._remotes])

    def packets(self, now: float) -> Iterator[tuple[int, Hello]]:
        """What is due, as (player, packet)."""
        if self.complete:
            # Nobody waits for a hello of whoever plays already, but the packets of the first frames may be late.
            for remote in self._remotes:
                yield remote.player, Hello(0, True)
        elif now >= self.next_hello:
            for remote in self._remotes:
                yield remote.player, Hello(0, remote.met)
            self.next_hello = now + HELLO_INTERVAL
