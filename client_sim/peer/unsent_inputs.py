"""The local player's inputs that some other peer may still lack."""

from __future__ import annotations

from rollgym.client_sim.rollback.input_queue import InputQueue
from rollgym.protocol.packets import idle_bitmap

_CUT_AT = 256
"""Inputs that everybody has before they are cut off: rare enough to cost nothing per frame."""


class UnsentInputs:
    """Inputs of one episode, kept until every other peer has acknowledged them. ``queue`` is the session's own."""

    __slots__ = ("_filled", "_from", "_queue", "_values", "last")

    def __init__(self, queue: InputQueue) -> None:
        self.last = -1
        """The last frame with a local input."""
        self._queue = queue
        self._values: list[bytes] = []
        self._from = 0
        self._filled: set[int] = set()
        # Frames whose input was filled in while the local player was away.

    def take(self) -> None:
        """Take over what was decided since the last call."""
        queue = self._queue
        for frame in range(self.last + 1, queue.next):
            self._values.append(queue.value(frame))
            if frame in queue.idle:
                self._filled.add(frame)
        self.last = queue.next - 1

    def after(self, acked: int, most: int) -> tuple[int, tuple[bytes, ...], bytes]:
        """Inputs after frame ``acked``: the first one's frame, at most ``most`` of them, and their idle bitmap."""
        start = acked + 1
        at = start - self._from
        inputs = tuple(self._values[at : at + most])
        if not self._filled:
            return start, inputs, b""
        return start, inputs, idle_bitmap([start + i in self._filled for i in range(len(inputs))])

    def forget(self, acked: int) -> None:
        """Every other peer has the inputs up to frame ``acked``."""
        cut = acked + 1 - self._from
        if cut > _CUT_AT:
            del self._values[:cut]
            self._from += cut
            if self._filled:
                self._filled = {frame for frame in self._filled if frame >= self._from}
