"""Sessions that decide nothing: a spectator plays a match from its confirmed inputs, a replay from its record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollgym.client_sim.rollback.interfaces import JointInput, Outcome, Recorder, Simulation
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings


class Spectator:
    """Plays frames whose inputs are all known, and no others: it never predicts and never rolls back.

    Feed it with :meth:`add_inputs`; call :meth:`advance` once per frame period. It plays one frame a call, and
    ``catch_up`` while it is more than ``buffer`` frames behind what it knows.
    """

    def __init__(
        self,
        simulation: Simulation,
        defaults: Sequence[bytes],
        *,
        buffer: int = 10,
        catch_up: int = 2,
        recorder: Recorder | None = None,
    ) -> None:
        settings = SessionSettings(input_delay=0, max_prediction=0, checksum_interval=1)
        self.session = Session(simulation, defaults, (), settings, recorder=recorder)
        self.buffer = buffer
        self.catch_up = catch_up

    @property
    def behind(self) -> int:
        """Frames that are known and not played yet."""
        return self.session.inputs.remote_known + 1 - self.session.current

    def add_inputs(self, player: int, start: int, values: Sequence[bytes]) -> int:
        """A player's confirmed inputs. See :meth:`Session.add_inputs`."""
        return self.session.add_inputs(player, start, values)

    def advance(self) -> int:
        """Play what is due; the number of frames played (0 while nothing is known, or when the episode is over)."""
        played = 0
        for _ in range(self.catch_up if self.behind > self.buffer else 1):
            if self.session.settle() is not SessionProgress.READY:
                return played
            self.session.step(())
            played += 1
        self.session.settle()
        return played

    @property
    def over(self) -> bool:
        """The terminal frame was played."""
        return self.session.terminal_frame is not None


def replay(simulation: Simulation, inputs: Iterable[JointInput]) -> Iterable[tuple[int, Outcome]]:
    """Step a simulation in its first state through recorded joint inputs; yields (frame, outcome) after each step."""
    for frame, joint in enumerate(inputs):
        yield frame, simulation.step(joint)
