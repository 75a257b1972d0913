"""Which states are kept, so that any rollback that can still happen finds one to start from."""

from __future__ import annotations

from collections import deque
from typing import Any

from rollgym.client_sim.rollback.errors import InvariantViolation


class SnapshotStore:
    """Saved states by frame: ``S_f`` is the state before frame ``f`` is simulated.

    Memory is bounded by the frames between the rollback anchor and the present, divided by the saving interval.
    """

    __slots__ = ("_frames", "_states", "every")

    def __init__(self, every: int) -> None:
        self.every = every
        self._frames: deque[int] = deque()
        self._states: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: int, state: Any) -> None:
        """Keep ``S_frame``. Frames come in ascending order (after :meth:`cut`)."""
        states = self._states
        if frame not in states:
            self._frames.append(frame)
        states[frame] = state

    def get(self, frame: int) -> Any | None:
        """``S_frame`` or None."""
        return self._states.get(frame)

    def latest(self, frame: int) -> tuple[int, Any]:
        """The newest kept state at or before ``frame``, with its frame."""
        state = self._states.get(frame)
        if state is not None:
            return frame, state
        for kept in reversed(self._frames):
            if kept <= frame:
                return kept, self._states[kept]
        raise InvariantViolation(f"no snapshot at or before frame {frame}")

    def cut(self, above: int) -> None:
        """Forget states after frame ``above``: they are about to be simulated again."""
        frames, states = self._frames, self._states
        while frames and frames[-1] > above:
            del states[frames.pop()]

    @property
    def oldest(self) -> int:
        """The first frame whose state is kept."""
        return self._frames[0]

    def discard(self, anchor: int) -> None:
        """Forget what a rollback to ``anchor`` or later cannot need."""
        frames, states = self._frames, self._states
        while len(frames) > 1 and frames[1] <= anchor:
            del states[frames.popleft()]
