"""What the core needs from outside: something to simulate, and (optionally) someone who writes it down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

JointInput = tuple[bytes, ...]
"""One encoded input per player, in the order of players; each as wide as that player's default input."""

ActionCheck = Callable[[bytes], str | None]
"""What is wrong with an encoded action, or None. A pure function: what was found right once is not looked at again."""


class Outcome(Protocol):
    """What the core reads of a step's result; the rest is between the game and the recorder."""

    @property
    def terminal(self) -> bool:
        """The step ended the episode: no later frame is stepped, unless a ``load`` goes back before this one."""
        ...


class Simulation(Protocol):
    """A deterministic game. See ``rollgym.games.contract.Game``, which is one.

    A session calls it from one thread, and owns it: nobody else steps or loads it meanwhile. ``save`` and ``digest``
    may be called at any time, ``load`` with any snapshot of this episode that ``save`` gave, and ``step`` unless the
    present state is the end. What a method raises comes out of :meth:`Session.settle` or :meth:`Session.step`; the
    session is of no use after that.
    """

    def step(self, inputs: JointInput, /) -> Outcome:
        """Advance one frame with everybody's inputs.

        A pure function of the state and the inputs: the same ones give the same next state and outcome, in this
        process and in any other, however often the frame was stepped before. No clock, no randomness but the state's.
        The inputs may be predictions, so they need not be what anybody ever sends.
        """
        ...

    def save(self) -> Any:
        """The present state. Neither later steps nor ``load`` may change what was returned; it is never None."""
        ...

    def load(self, snapshot: Any, /) -> None:
        """Make ``snapshot`` the present state. It must not be changed, for it may be loaded again."""
        ...

    def digest(self, snapshot: Any, /) -> int:
        """A hash of a saved state, ``0 <= digest < 2**64``. Equal states have equal digests, on any machine; states
        that differ should not. Neither the snapshot nor the present state changes."""
        ...


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
    """Is called for every frame, in the thread of the session and in the middle of its work: it must not call back.

    For each frame: ``simulated`` once; then any number of times ``mispredicted``, ``rolling_back`` (to it or an earlier
    frame) and ``simulated`` again; then ``promoted`` once, in the order of frames (never for frames to which the
    episode does not come). What it raises comes out of the session's call, like what the simulation raises.
    """

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
