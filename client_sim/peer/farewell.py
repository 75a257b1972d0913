"""The end of a match at one peer: goodbye until everybody has said it, and still answering for a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rollgym.client_sim.peer.meeting import HELLO_INTERVAL
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.protocol.packets import BYE_REASONS, Bye, Input

LINGER = 1.5
"""Seconds to keep answering after our own match is over, and after the last packet of a partner who has not said
goodbye, so that one who lost our last packets gets them."""


class Farewell:
    """Says why this peer leaves. ``patience``: seconds beyond :data:`LINGER` for partners who talk and say no bye."""

    def __init__(
        self,
        reason: str,
        episode: int,
        remotes: Sequence[RemotePeer],
        patience: float,
        now: float,
        notices: Mapping[int, Input] | None = None,
    ) -> None:
        """``notices``: what is said instead of a bye to players who may not take one for leave to play on alone."""
        self._notices = notices or {}
        self._bye = Bye(episode, BYE_REASONS.index(reason))
        self._remotes = remotes
        self._deadline = now + LINGER
        self._patience = patience
        self.next = now
        self.done = False
        """Nobody waits for anything from here."""

    def packets(self, now: float) -> Iterator[tuple[int, Bye | Input]]:
        """What is due, as (player, packet)."""
        if now < self.next:
            return
        self.next = now + HELLO_INTERVAL
        for remote in self._remotes:
            yield remote.player, self._notices.get(remote.player, self._bye)
        waiting = [remote for remote in self._remotes if not remote.sent_bye and remote.gone is None]
        # A partner who still talks may have lost every bye so far, and would wait for us in vain.
        talking = now < self._deadline + self._patience and any(now - remote.last_heard < LINGER for remote in waiting)
        self.done = not waiting or (now >= self._deadline and not talking)
