"""One player's inputs: facts from frame 0 on, without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rollgym.client_sim.rollback.errors import InputConflict, InputGap, InputRefused

REAL = 0
IDLE = 1
GONE = 3
"""Where an input comes from: its owner; filled in while the owner was away; filled in after the owner had left. (The
record has a 2, for agents without a player.)"""

_TRIM_AT = 512
"""Entries beyond what is needed before the front is cut: rare enough to cost nothing per frame."""

HISTORY = 64
"""How many of the newest inputs a predictor can rely on."""


class InputQueue:
    """Contiguous inputs of one player, trimmed at the front when nothing can need them.

    ``last`` is the newest known frame, -1 for none. A *closed* queue belongs to a player who is gone: every later
    frame holds the default input, marked as such.
    """

    __slots__ = ("base", "closed", "default", "idle", "keep", "last", "next", "values", "width")

    FOREVER: ClassVar[int] = 1 << 60

    def __init__(self, default: bytes, keep: int = 0) -> None:
        self.default = default
        self.width = len(default)
        self.keep = max(keep, HISTORY)
        """How many of the newest inputs :meth:`trim` leaves."""
        self.base = 0
        self.values: list[bytes] = []
        self.idle: set[int] = set()
        """Frames whose input was filled in. Almost always empty."""
        self.last = -1
        self.next = 0
        """The first frame without an input: ``base`` and the number of values."""
        self.closed: int | None = None

    def value(self, frame: int) -> bytes:
        """The known input for a frame that is neither trimmed nor beyond ``last``."""
        if frame < self.base:
            raise IndexError(frame)
        return self.values[frame - self.base] if frame < self.next else self._beyond(frame)

    def source(self, frame: int) -> int:
        """:data:`REAL`, :data:`IDLE` or :data:`GONE`."""
        if self.closed is not None and frame > self.closed:
            return GONE
        return IDLE if frame in self.idle else REAL

    def _beyond(self, frame: int) -> bytes:
        if self.closed is None:
            raise IndexError(frame)
        return self.default

    def append(self, value: bytes, source: int = REAL) -> None:
        """The input for frame ``next``."""
        self.values.append(value)
        self.last = self.next
        self.next += 1
        if source == IDLE:
            self.idle.add(self.last)

    def check(self, player: int, start: int, values: Sequence[bytes], sources: Sequence[int] | None = None) -> int:
        """How many of ``values``, for frames ``start ..``, are known already, from the same ``sources`` (none: real).

        Raises :class:`InputGap` or :class:`InputConflict`. Trimmed frames are taken on trust: they were
        confirmed, simulated and acknowledged.
        """
        following = self.next
        if start > following:
            raise InputGap(player, start, following)
        known = following - start
        if known > len(values):
            known = len(values)
        base, mine = self.base, self.values
        for frame in range(start if start > base else base, start + known):
            if mine[frame - base] != values[frame - start]:
                raise InputConflict(player, frame, mine[frame - base], values[frame - start])
        if sources is not None or self.idle:
            for frame in range(max(start, base), start + known):
                told = REAL if sources is None else sources[frame - start]
                if told != (IDLE if frame in self.idle else REAL):
                    what = ("its owner's own", "filled in")
                    raise InputRefused(player, frame, values[frame - start], f"{what[told]}, after {what[1 - told]}")
        return known

    def close(self, after: int) -> None:
        """The player is gone; ``after`` is the last frame with an input of its own. Later ones known are dropped."""
        del self.values[after + 1 - self.base :]
        self.next = after + 1
        self.closed = after
        self.last = self.FOREVER

    def trim(self, before: int) -> None:
        """Frames below ``before`` are needed no more (the newest ``keep`` stay)."""
        if before - self.base <= _TRIM_AT:
            return
        cut = min(before, self.next - self.keep) - self.base
        if cut > _TRIM_AT:
            del self.values[:cut]
            self.base += cut
            if self.idle:
                self.idle = {frame for frame in self.idle if frame >= self.base}
