"""Synctest: is a simulation safe to roll back? Every frame is rolled back on purpose and must come out the same.

After GGPO's and GGRS's sync test sessions. All players are local, nothing is predicted; after each frame the last
``distance`` frames are simulated again from their snapshot with the same inputs, and the digest of every state must
equal the one it had the first time. What fails here would desync between two peers that never disagreed on an input.
It cannot see a difference between machines or processes: compare digests of two runs for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollgym.client_sim.rollback.errors import InputWidth, SettingsError, SyncTestFailed, UnknownPlayer
from rollgym.client_sim.rollback.interfaces import JointInput, Outcome, Simulation


class SyncTest:
    """Plays one episode, rolling back ``distance`` frames at every frame.

    The simulation must be in its first state. If it has a method ``state_fields(snapshot)`` that gives the parts of a
    snapshot by name, a failure says which differ. Memory is bounded by ``distance``.
    """

    def __init__(self, simulation: Simulation, defaults: Sequence[bytes], distance: int) -> None:
        if distance < 0:
            raise SettingsError("distance", distance, "an integer of at least 0")
        self.current = 0
        self.resimulated = 0
        self.distance = distance
        self._simulation = simulation
        self._widths = tuple(len(default) for default in defaults)
        self._inputs: list[JointInput] = []
        snapshot = simulation.save()
        self._snapshots: list[Any] = [snapshot]
        self._digests: list[int] = [simulation.digest(snapshot)]

    @property
    def digest(self) -> int:
        """The digest of the present state."""
        return self._digests[-1]

    def advance(self, inputs: Sequence[bytes]) -> Outcome:
        """Simulate a frame with everybody's inputs, then roll back and compare.

        Raises :class:`SyncTestFailed`; after a terminal outcome the episode is over and nothing more may be played.
        """
        joint = tuple(inputs)
        if len(joint) != len(self._widths):
            raise UnknownPlayer(len(joint), f"inputs of {len(self._widths)} players")
        for player, (value, width) in enumerate(zip(joint, self._widths, strict=True)):
            if len(value) != width:
                raise InputWidth(player, value, width)
        simulation, history = self._simulation, self._inputs
        outcome = simulation.step(joint)
        snapshot = simulation.save()
        history.append(joint)
        self._snapshots.append(snapshot)
        self._digests.append(simulation.digest(snapshot))
        self.current += 1
        if len(history) > self.distance:
            del history[0], self._snapshots[0], self._digests[0]
        if history:
            self._roll_back()
        return outcome

    def _roll_back(self) -> None:
        simulation = self._simulation
        step, save, digest, digests = simulation.step, simulation.save, simulation.digest, self._digests
        simulation.load(self._snapshots[0])
        at = 0
        for joint in self._inputs:
            step(joint)
            at += 1
            snapshot = save()
            again = digest(snapshot)
            if again != digests[at]:
                raise self._failure(at, snapshot, again)
        self.resimulated += at

    def _failure(self, at: int, snapshot: Any, again: int) -> SyncTestFailed:
        fields: tuple[tuple[str, object, object], ...] = ()
        describe = getattr(self._simulation, "state_fields", None)
        if describe is not None:
            before, after = describe(self._snapshots[at]), describe(snapshot)
            names = [*before, *(name for name in after if name not in before)]
            fields = tuple(
                (name, before.get(name), after.get(name))
                for name in names
                if repr(before.get(name)) != repr(after.get(name))
            )
        start = self.current - len(self._inputs)
        return SyncTestFailed(start + at, self._digests[at], again, start, fields)
