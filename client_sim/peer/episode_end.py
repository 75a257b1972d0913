"""The end of an episode: both sides learn that the other's canonical buffer holds the same terminal frame.

An end is re-sent until it is acknowledged, and names its episode, so that a late one cannot touch the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollgym.client_sim.peer.events import DesyncFound
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.rollback.session import Session
from rollgym.protocol.packets import End, EndAck

END_INTERVAL = 0.05
"""Seconds between two ends that wait for an acknowledgement: a few per round trip of a slow remote."""


class EpisodeEnd:
    """One episode's end at one peer, whose canonical buffer is complete."""

    def __init__(self, episode: int, frames: int, digest: bytes, remotes: Sequence[RemotePeer], now: float) -> None:
        self.episode = episode
        self.frames = frames
        self.digest = digest
        self._remotes = remotes
        self._next = now

    def packets(self, now: float) -> Iterator[tuple[int, End | EndAck]]:
        """What is due, as (player, packet)."""
        if now < self._next:
            return
        self._next = now + END_INTERVAL
        for remote in self._remotes:
            if remote.gone is None and not remote.end_acked:
                yield remote.player, End(self.episode, self.frames, self.digest)
            if remote.end is not None:
                yield remote.player, EndAck(self.episode, self.frames)

    @property
    def settled(self) -> bool:
        """Everybody who is still there has our end, and we have theirs."""
        return all(remote.gone is not None or (remote.end_acked and remote.end is not None) for remote in self._remotes)

    @property
    def awaited(self) -> list[RemotePeer]:
        """Those who are there and whose end, or whose word that they have ours, is missing."""
        return [
            remote
            for remote in self._remotes
            if remote.gone is None and not (remote.end_acked and remote.end is not None)
        ]

    def differences(self, session: Session) -> list[DesyncFound]:
        """Ends that are not ours: another number of frames, or other content.

        Those of players who are gone count too, but where an earlier departure had its part in the episode: who is gone
        by now may have known inputs of the first one that no survivor has.
        """
        of_the_gone = all(queue.closed is None for queue in session.queues)
        return [
            DesyncFound(
                self.episode,
                min(remote.end.frames, self.frames),
                remote.player,
                f"{self.frames} frames {self.digest.hex()[:16]}",
                f"{remote.end.frames} frames {remote.end.digest.hex()[:16]}",
            )
            for remote in self._remotes
            if remote.end is not None
            and (of_the_gone or remote.gone is None)
            and (remote.end.frames, remote.end.digest) != (self.frames, self.digest)
        ]
