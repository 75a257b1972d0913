"""Writes down one episode at one peer, through the session's own calls: there is no second recording path.

Play, replay after a rollback and fast-forward all arrive here as :meth:`EpisodeRecorder.simulated`; a frame
leaves the speculative buffer only through :meth:`EpisodeRecorder.promoted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollgym.client_sim.record.buffers import CanonicalBuffer, Row, SpeculativeBuffer
from rollgym.client_sim.rollback.interfaces import Rollback
from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.record.columns import CanonicalBuilder, observation_columns, prefix
from rollgym.games.spaces.described import flattener
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import OWN_COLUMNS, Canonical, RollbackEvent

MAX_ROLLBACK_EVENTS = 1_000_000
"""Kept per episode. The schema allows this many frames, and a frame has at most a few rollbacks."""


FOLD = 512
"""Frames whose history becomes columns at once."""

STEPPED_AGAIN = 1024
"""Frames below the newest canonical one that a rollback may still step, from a sparse snapshot (``save_every`` is at
most 256): their history is not final yet."""


class History:
    """How one frame came about; survives every rollback of the frame."""

    __slots__ = ("advantage", "inputs", "mispredicted", "rollbacks", "rtt", "simulated", "speculative", "time")

    def __init__(self, time: float, rtt: float, advantage: float) -> None:
        self.time = time
        self.rtt = rtt
        self.advantage = advantage
        self.simulated = 0
        self.rollbacks = 0
        self.speculative = False
        self.mispredicted = False
        self.inputs: JointInput | None = None
        """What it was last simulated with."""


_GONE = History(0.0, 0.0, 0.0)


def _columns_of(frames: list[History]) -> dict[str, NDArray[Any]]:
    values: dict[str, list[Any]] = {
        "was_speculative": [h.speculative for h in frames],
        "mispredicted": [h.mispredicted for h in frames],
        "times_simulated": [h.simulated for h in frames],
        "rollbacks": [h.rollbacks for h in frames],
        "time": [h.time for h in frames],
        "rtt": [h.rtt for h in frames],
        "frame_advantage": [h.advantage for h in frames],
    }
    return {name: np.array(values[name], dtype=dtype) for name, dtype in OWN_COLUMNS.items()}


class EpisodeRecorder:
    """The two buffers of an episode and this peer's own view. Create it right after ``game.reset``.

    ``infos`` is what ``reset`` returned. Observations are built as late as can be: at the newest frame because the
    policy reads them, and for the record once a frame is final.
    """

    def __init__(self, game: Game, infos: tuple[Mapping[str, Any], ...], player: int) -> None:
        self._game = game
        self.player = player
        self._agent = game.spec.seats[player]
        self.speculative = SpeculativeBuffer()
        self.canonical = CanonicalBuffer(CanonicalBuilder(game.spec))
        self.rollbacks: list[RollbackEvent] = []
        self.history: list[History] = []
        """By frame. Of those that are folded there is nothing left here to change."""
        self._folded: list[dict[str, NDArray[Any]]] = []
        self._folded_until = 0
        self._now = (0.0, float("nan"), 0.0)
        self._time = 0.0
        self._seen: dict[int, Observation] = {}
        self._seen_wrong: list[tuple[int, tuple[Observation, ...]]] = []
        self._flatten = flattener(game.spec.observation_spaces[self._agent])
        digest = game.digest(game.save())
        self.canonical.start(infos, game.observe(), digest)

    # -- what the session calls ----------------------------------------------------------------------------------

    def simulated(self, frame: int, inputs: JointInput, speculative: bool, outcome: Outcome, saved: bool) -> None:
        row = Row(inputs, outcome)
        self.speculative.add(frame, row)
        if frame == len(self.history):
            self.history.append(History(*self._now))
        history = self.history[frame]
        history.simulated += 1
        if speculative:
            history.speculative = True
        if history.inputs != inputs:
            if history.inputs is not None:
                # Two simulations differ, so one of them was wrong, though the prediction that the real input was at
                # last compared with may have been right: a rollback to an earlier frame had made it anew.
                history.mispredicted = True
            history.inputs = inputs
        if not saved:
            # Nobody can come back to this state later.
            row.observations = self._game.observe()

    def repeated(self, frame: int) -> None:
        self.history[frame].simulated += 1

    def mispredicted(self, frame: int, player: int) -> None:
        self.history[frame].mispredicted = True

    def rolling_back(self, event: Rollback) -> None:
        self.speculative.clear_from(event.to_frame)
        for history in self.history[event.to_frame : event.at_frame]:
            history.rollbacks += 1
        if len(self.rollbacks) < MAX_ROLLBACK_EVENTS:
            self.rollbacks.append(
                RollbackEvent(
                    event.at_frame,
                    event.to_frame,
                    event.depth,
                    event.player,
                    event.predicted,
                    event.actual,
                    self._time,
                )
            )

    def promoted(
        self, frame: int, inputs: JointInput, sources: tuple[int, ...], snapshot: Any | None, digest: int
    ) -> None:
        newest = frame == self.speculative.end - 1
        row = self.speculative.lowest(frame)
        observations = row.observations
        if observations is None:
            observations = self._game.observe() if newest else self._game.observe_at(snapshot)
        self.canonical.append(frame, row, inputs, sources, observations, digest)
        self.speculative.drop_lowest()
        if frame - self._folded_until >= FOLD + STEPPED_AGAIN:
            self._fold()
        seen = self._seen.pop(frame + 1, None)
        if seen is not None and seen is not observations[self._agent]:
            self._compare_seen(frame + 1, seen, observations[self._agent])

    def _compare_seen(self, frame: int, seen: Observation, final: Observation) -> None:
        for one, two in zip(self._flatten(seen), self._flatten(final), strict=True):
            if np.asarray(one).tobytes() != np.asarray(two).tobytes():
                self._seen_wrong.append((frame, (seen,)))
                return

    # -- what the peer calls -------------------------------------------------------------------------------------

    def tick(self, time: float, rtt: float, advantage: float) -> None:
        """What frames simulated from now on are stamped with (seconds, seconds, frames)."""
        self._now = (time, rtt, advantage)
        self._time = time

    def clock(self, time: float) -> None:
        """What rollbacks from now on are stamped with (seconds): one can come long after the last frame, in a stall."""
        self._time = time

    def observe(self, frame: int) -> Observation:
        """The local player's observation at the present frame, which is ``frame``; what its policy acts on."""
        if frame == self.canonical.frames:
            observations = self.canonical.newest_observations
        else:
            row = self.speculative.row(frame - 1)
            if row.observations is None:
                row.observations = self._game.observe()
            observations = row.observations
            # A frame can be observed again after a rollback took a terminal frame away; its input was decided first.
            self._seen.setdefault(frame, observations[self._agent])
        return observations[self._agent]

    def seal(self) -> None:
        """Nothing more comes: what is canonical is all in its final form, or what cannot be is found now."""
        self.canonical.seal()

    def build(self, frames: int | None = None) -> Canonical:
        """The canonical part of the export. Reads the canonical buffer and nothing else.

        ``frames``: only so many.
        """
        built = self.canonical.build()
        return built if frames is None else prefix(built, frames)

    def own_columns(self, until: int | None = None) -> dict[str, Column]:
        """This peer's own columns, one row per canonical frame; and what the policy saw where it was wrong.

        ``until``: only those of so many frames.
        """
        end = self.canonical.frames if until is None else until
        parts = [*self._folded, _columns_of(self.history[self._folded_until : max(end, self._folded_until)])]
        columns = {name: Column.of(np.concatenate([part[name] for part in parts])[:end]) for name in OWN_COLUMNS}
        acted = [(frame, seen) for frame, seen in self._seen_wrong if frame < end]
        columns["seen_frame"] = Column.of(np.array([frame for frame, _ in acted], dtype=np.uint32))
        columns.update(
            observation_columns(self._game.spec, [seen for _, seen in acted], prefix="seen", agents=(self._agent,))
        )
        return columns

    def _fold(self) -> None:
        start, end = self._folded_until, self._folded_until + FOLD
        self._folded.append(_columns_of(self.history[start:end]))
        self.history[start:end] = [_GONE] * FOLD
        self._folded_until = end

    def clear(self) -> None:
        """Empty both buffers: the episode is exported, or abandoned (REC-06)."""
        self.speculative.clear()
        self.canonical = CanonicalBuffer(CanonicalBuilder(self._game.spec))
        self.history.clear()
        self._folded.clear()
        self._folded_until = 0
        self.rollbacks.clear()
        self._seen.clear()
        self._seen_wrong.clear()
