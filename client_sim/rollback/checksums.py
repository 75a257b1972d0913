"""Desync detection: do two peers hold the same state for the same confirmed frame.

Only digests of states whose inputs were all real ever get here, each taken once from that frame's own snapshot,
so peers that confirm a frame at different times still agree.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

KEPT = 128
"""Own checksums kept for comparison. A packet never reports an older one than a partner can still be waiting for."""


class Desync(NamedTuple):
    """States differ: ``S_frame`` here has digest ``local``, at ``player``'s peer ``remote``."""

    frame: int
    player: int
    local: int
    remote: int


class ChecksumBook:
    """Own digests by frame, and the others' until they can be compared."""

    def __init__(self, players: int) -> None:
        self._own: dict[int, int] = {}
        self._order: deque[int] = deque()
        self._theirs: list[dict[int, int]] = [{} for _ in range(players)]
        self._newest_of: list[tuple[int, int] | None] = [None] * players
        # Per player what it reported last: it does so in every packet until it has a newer one.
        self.compared = 0
        self.matched = 0
        self.newest: tuple[int, int] | None = None
        """The newest own checksum: (frame, digest)."""
        self.due = False
        """Something came in since the last comparison."""
        self.found: list[Desync] = []
        """Desyncs that nobody has taken yet."""
        self._reported = False

    def own(self, frame: int, digest: int) -> None:
        """Frame ``frame``'s state is confirmed here and has this digest."""
        self._own[frame] = digest
        self._order.append(frame)
        if len(self._order) > KEPT:
            del self._own[self._order.popleft()]
        self.newest = (frame, digest)
        self.due = True

    def theirs(self, player: int, frame: int, digest: int) -> None:
        """A peer's digest of frame ``frame``. Repeats are expected; at most :data:`KEPT` wait to be compared."""
        if self._newest_of[player] == (frame, digest):
            return
        self._newest_of[player] = (frame, digest)
        waiting = self._theirs[player]
        if self._order and frame < self._order[0]:
            return
        if frame not in waiting and len(waiting) >= KEPT:
            return
        if waiting.get(frame) != digest:
            waiting[frame] = digest
            self.due = True

    def forget(self, player: int) -> None:
        """What ``player``'s peer said and is not compared yet counts no more."""
        self._theirs[player].clear()

    def compare(self) -> None:
        """Compare what is known on both sides."""
        self.due = False
        for player, waiting in enumerate(self._theirs):
            if not waiting:
                continue
            for frame in sorted(waiting):
                local = self._own.get(frame)
                if local is None:
                    continue
                remote = waiting.pop(frame)
                self.compared += 1
                if local == remote:
                    self.matched += 1
                elif not self._reported:
                    self._reported = True
                    self.found.append(Desync(frame, player, local, remote))

    def take(self) -> list[Desync]:
        """Desyncs found since the last call: the first mismatch of the session, once."""
        if not self.found:
            return []
        found, self.found = self.found, []
        return found
