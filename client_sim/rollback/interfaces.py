"""What the core needs from outside: something to simulate, and (optionally) someone who writes it down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

JointInput = tuple[bytes, ...]

ActionCheck = Callable[[bytes], str | None]
"""What is wrong with an encoded action, or None. A pure function: what was found right once is not looked at again."""


class Outcome(Protocol):
    """What the core reads of a step's result; the rest is between the game and the recorder."""

    @property
    def terminal(self) -> bool: ...


class Simulation(Protocol):
    """A deterministic game. See ``rollgym.games.contract.Game``, which is one."""

    def step(self, inputs: JointInput, /) -> Outcome: ...

    def save(self) -> Any: ...

    def load(self, snapshot: Any, /) -> None: ...

    def digest(self, snapshot: Any, /) -> int: ...


class Rollback(NamedTuple):
    """A rollback that is about to happen."""

    at_frame: int
    """The frame that would have been simulated next."""
    to_frame: int
    """The first frame that is simulated again."""
    player: int
    """Whose input was mispredicted at ``to_frame`` (the lowest index if several were)."""
    predicted: bytes
    actual: bytes

    @property
    def depth(self) -> int:
        return self.at_frame - self.to_frame


class Recorder(Protocol):
    """Hears of every frame. Must not call back into the session."""

    def simulated(self, frame: int, inputs: JointInput, speculative: bool, outcome: Any, saved: bool, /) -> None:
        """Frame ``frame`` was stepped. ``speculative``: with a predicted input. ``saved``: ``S_{frame+1}`` is kept, and
        comes along when the frame is promoted."""

    def repeated(self, frame: int, /) -> None:
        """Frame ``frame`` was stepped once more, with the same inputs, to get from a sparse snapshot to a rollback's
        first frame. It may be canonical."""

    def mispredicted(self, frame: int, player: int, /) -> None:
        """The input predicted for ``player`` at ``frame`` was wrong. A rollback follows."""

    def rolling_back(self, event: Rollback, /) -> None:
        """Frames from ``event.to_frame`` on are about to be simulated again."""

    def promoted(
        self, frame: int, inputs: JointInput, sources: tuple[int, ...], snapshot: Any | None, digest: int, /
    ) -> None:
        """Frame ``frame`` is canonical: ``inputs`` are real. ``snapshot`` is ``S_{frame+1}`` if kept, ``digest`` its
        digest (else 0)."""
