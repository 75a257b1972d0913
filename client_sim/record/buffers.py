"""The two buffers. Speculative rows may change; canonical rows never do.

The only way into the canonical buffer is :meth:`CanonicalBuffer.append`, one frame at a time, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rollgym.client_sim.rollback.errors import InvariantViolation
from rollgym.games.contract import JointInput, Observation, Outcome
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.protocol.episode.export import Canonical


class Row:
    """A frame as it was last simulated. ``observations`` are of the state it led to, if somebody built them."""

    __slots__ = ("inputs", "observations", "outcome")

    def __init__(self, inputs: JointInput, outcome: Outcome) -> None:
        self.inputs = inputs
        self.outcome = outcome
        self.observations: tuple[Observation, ...] | None = None


class SpeculativeBuffer:
    """Rows of frames that are simulated but not final: ``first .. end - 1``, without gaps."""

    def __init__(self) -> None:
        self.first = 0
        self.end = 0
        """The frame after the newest row."""
        self._rows: deque[Row] = deque()

    def add(self, frame: int, row: Row) -> None:
        """The next frame's row."""
        if frame != self.end:
            raise InvariantViolation(f"frame {frame} recorded where frame {self.end} was due")
        self._rows.append(row)
        self.end += 1

    def clear_from(self, frame: int) -> None:
        """Forget rows from ``frame`` on: they are about to be simulated again."""
        if frame < self.first:
            raise InvariantViolation(f"rollback to frame {frame}, but frames below {self.first} are canonical")
        while self.end > frame:
            self._rows.pop()
            self.end -= 1

    def lowest(self, frame: int) -> Row:
        """The row of the lowest frame, which must be ``frame``."""
        if frame != self.first or not self._rows:
            raise InvariantViolation(
                f"frame {frame} promoted, but the speculative rows are {self.first}..{self.end - 1}"
            )
        return self._rows[0]

    def drop_lowest(self) -> None:
        """The lowest frame has become canonical."""
        self.first += 1
        self._rows.popleft()

    def row(self, frame: int) -> Row:
        """The row of a frame that is in the buffer."""
        return self._rows[frame - self.first]

    def rows(self) -> Sequence[Row]:
        """All rows, lowest frame first."""
        return tuple(self._rows)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self.end = self.first


class CanonicalBuffer:
    """Confirmed frames, contiguous from 0, append-only."""

    def __init__(self, builder: CanonicalBuilder) -> None:
        self._builder = builder

    @property
    def frames(self) -> int:
        """How many frames are canonical."""
        return self._builder.frames

    def start(self, infos: tuple[Mapping[str, Any], ...], observations: tuple[Observation, ...], digest: int) -> None:
        """What ``reset`` gave."""
        self._builder.start(infos, observations, digest)

    def append(
        self,
        frame: int,
        row: Row,
        inputs: JointInput,
        sources: Sequence[int],
        observations: tuple[Observation, ...],
        digest: int,
    ) -> None:
        """Frame ``frame`` is a fact: ``inputs`` are real, and ``row`` was simulated with exactly those."""
        if frame != self._builder.frames:
            raise InvariantViolation(f"frame {frame} became canonical where frame {self._builder.frames} was due")
        if row.inputs != inputs:
            raise InvariantViolation(
                f"frame {frame} became canonical, but was simulated with {row.inputs}, not {inputs}"
            )
        self._builder.append(row.inputs, sources, row.outcome, observations, digest)

    @property
    def newest_observations(self) -> tuple[Observation, ...]:
        """What frame ``frames - 1`` led to, or what ``reset`` gave."""
        return self._builder.newest_observations

    def seal(self) -> None:
        """Turn what has not been yet into columns: what cannot be is found now, see ``CanonicalBuilder``."""
        self._builder.seal()

    def build(self) -> Canonical:
        """All rows as columns."""
        return self._builder.build()
