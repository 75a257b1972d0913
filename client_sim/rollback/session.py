"""The rollback session of one peer and one episode: play without waiting, and correct what was guessed wrong.

After GGPO (Cannon, 2009) and GGRS, with two differences. Frames are handed to a recorder when, and only when, they
cannot change any more. And a session stops at a terminal frame that is still speculative, ready to play on if a
rollback takes it away.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any

from rollgym.client_sim.rollback.checksums import ChecksumBook, Desync
from rollgym.client_sim.rollback.errors import InputTooFarAhead, InvariantViolation, NotReady
from rollgym.client_sim.rollback.input_book import InputBook
from rollgym.client_sim.rollback.input_queue import REAL
from rollgym.client_sim.rollback.interfaces import ActionCheck, JointInput, Recorder, Rollback, Simulation
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import InputHistory, Predictor
from rollgym.client_sim.rollback.settings import SessionSettings
from rollgym.client_sim.rollback.snapshots import SnapshotStore
from rollgym.client_sim.rollback.statistics import Statistics


class SessionProgress(Enum):
    """What a session can do next."""

    READY = "ready"
    """:meth:`Session.step` will simulate a frame."""
    STALLED = "stalled"
    """The prediction window is used up; inputs must arrive first."""
    TERMINAL = "waiting at a terminal frame"
    """The newest frame ended the episode, but is not canonical yet."""
    OVER = "over"
    """The terminal frame is canonical."""


class Session:
    """Plays one episode. The simulation must be in the episode's first state and belongs to the session from then on.

    Life: any number of :meth:`add_inputs` as packets arrive; then per tick :meth:`settle`, and :meth:`step` if
    that said ``READY``. When it says ``OVER``, the episode is.

    ``players`` default inputs are given as ``defaults``; their lengths are the players' input widths. ``local`` are
    the players whose inputs are decided here, the others' come in through :meth:`add_inputs`. Those are looked at with
    ``actions``, one check per player (none: any bytes of the right width are taken), and may be filled in for a player
    who was away only with ``idle``.
    """

    def __init__(
        self,
        simulation: Simulation,
        defaults: Sequence[bytes],
        local: Collection[int],
        settings: SessionSettings | None = None,
        *,
        recorder: Recorder | None = None,
        predictor: Predictor = repeat_last,
        actions: Sequence[ActionCheck] = (),
        idle: bool = True,
    ) -> None:
        self.settings = settings or SessionSettings()
        self.inputs = InputBook(defaults, local, self.settings, actions, idle)
        self.queues = self.inputs.queues
        """Every player's inputs, to be read only."""
        self.window = self.settings.max_prediction
        """The prediction window in force, in frames. May be widened while another player is away, and narrowed again:
        a session that is further ahead than a narrowed window allows stalls until inputs have caught up."""
        self.stats = Statistics()
        self._all_real = (REAL,) * len(self.queues)
        self.checksums = ChecksumBook(len(defaults))
        self.current = 0
        self.canonical = 0
        """Frames promoted so far: all below this are canonical."""
        self._simulation = simulation
        self._recorder = recorder
        self._predict = predictor
        self._histories = [(queue, InputHistory(queue, player)) for player, queue in enumerate(self.queues)]
        self._snapshots = SnapshotStore(self.settings.save_every)
        self._snapshots.put(0, simulation.save())
        self._used: list[JointInput] = []
        self._used_base = 0
        self._first_incorrect: int | None = None
        self._terminal: int | None = None
        self._last_frame: int | None = None
        if recorder is None:
            self._digest_every = self.settings.checksum_interval
        else:
            self._digest_every = self.settings.save_every

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def confirmed(self) -> int:
        """The highest frame up to which every player's input is known; -1 for none."""
        return self.inputs.confirmed

    @property
    def terminal_frame(self) -> int | None:
        """The newest simulated frame if it ended the episode (perhaps only speculatively)."""
        return self._terminal

    @property
    def rollback_pending(self) -> int | None:
        """The lowest mispredicted frame that has not been corrected yet."""
        return self._first_incorrect

    def add_inputs(self, player: int, start: int, values: Sequence[bytes], sources: Sequence[int] | None = None) -> int:
        """Take in a remote player's inputs for frames ``start ..``; ones that are known already may be among them.

        ``sources`` says of each whether it is :data:`REAL` (the default) or :data:`IDLE`. Returns how many were new.
        Raises :class:`UnknownPlayer`, :class:`InputWidth`, :class:`InputGap`, :class:`InputConflict`,
        :class:`InputTooFarAhead`, :class:`InputRefused`, or :class:`SettingsError` for another number of sources than
        of inputs; nothing was taken in then.
        """
        new = self.inputs.add(player, start, values, sources, self.current)
        if new:
            end, current = start + len(values), self.current
            for frame in range(end - new, end if end < current else current):
                self._verify(player, frame, values[frame - start])
        return new

    def _verify(self, player: int, frame: int, value: bytes) -> None:
        if self._used[frame - self._used_base][player] == value:
            return
        self.stats.mispredictions += 1
        if self._recorder is not None:
            self._recorder.mispredicted(frame, player)
        if self._first_incorrect is None or frame < self._first_incorrect:
            self._first_incorrect = frame

    def disconnect(self, player: int, after: int) -> None:
        """Player ``player`` is gone; all survivors agreed that ``after`` is the last frame with an input of its own.

        From then on the default input stands in for it, marked as such, as if it were real.
        Raises :class:`UnknownPlayer`; or :class:`InputTooFarAhead` if ``after`` is not known here or is canonical
        beyond repair.
        """
        if not self.inputs.close(player, after, self.canonical):
            return
        if self._first_incorrect is not None:
            # What showed it may be one of the inputs that count no more.
            wrong = (
                frame for frame in range(self._first_incorrect, self.current) if self._wrong_player(frame) is not None
            )
            self._first_incorrect = next(wrong, None)
        for frame in range(after + 1, self.current):
            self._verify(player, frame, self.queues[player].default)

    def end_after(self, frame: int) -> None:
        """The episode ends with frame ``frame`` at the latest, because a player left and no later frame can be played.

        The session is ``OVER`` once that frame is canonical; frames beyond stay speculative for ever.
        Raises :class:`InputTooFarAhead` if a later frame is canonical already.
        """
        if frame < self.canonical - 1:
            raise InputTooFarAhead(-1, frame, self.canonical - 1)
        if self._last_frame is None or frame < self._last_frame:
            self._last_frame = frame

    def set_input_delay(self, player: int, frames: int) -> None:
        """Change a local player's input delay from the next decided input on. Others need not know.

        Peers of a match play with the delay of its settings; this is for whoever lets a person choose in play. When it
        is raised, the newest input is held for the frames in between; when it is lowered, as many decisions fall away:
        an input that was decided is a fact. Raises :class:`UnknownPlayer` or :class:`SettingsError`.
        """
        self.inputs.set_delay(player, frames)

    def take_desyncs(self) -> list[Desync]:
        """Desyncs found since the last call."""
        return self.checksums.take()

    # -- a tick --------------------------------------------------------------------------------------------------

    def settle(self) -> SessionProgress:
        """Act on everything that has arrived. Steps 2 to 7 of a tick; step 1 was :meth:`add_inputs`.

        May be called as often as one likes; without new inputs it changes nothing.
        """
        # 2. Compare checksums before anything newly confirmed is acted on: acting may discard what they refer to.
        if self.checksums.due:
            self.checksums.compare()
        # 3. Correct the past before promoting it: a frame whose input was mispredicted must be simulated again first.
        if self._first_incorrect is not None:
            self._roll_back(self._first_incorrect)
        # 4. Promote: now every frame up to here was simulated with exactly the real inputs.
        confirmed = self.inputs.confirmed
        final = self.current - 1
        if confirmed < final:
            final = confirmed
        if self._last_frame is not None and self._last_frame < final:
            final = self._last_frame
        if final >= self.canonical:
            self._promote(final)
            # 5. Discard only after promotion, which reads snapshots, and never past the anchor: the first frame
            #    that a late input can still change.
            self._discard(final + 1)
        return self._progress()

    def _may_simulate(self) -> bool:
        # The local input for the present frame is about to be known, so only remote players count. After the step
        # the frames above the remote players' inputs are the predicted ones.
        return self.current - self.inputs.remote_known <= self.window

    def step(self, inputs: Sequence[bytes], source: int = REAL) -> None:
        """Step 8: register the local inputs (one per local player, in order) and simulate the present frame.

        With an input delay of ``d`` they are for frame ``current + d``. ``source`` is :data:`IDLE` for inputs that
        stand in for a local player who was away. Raises :class:`NotReady` unless
        :meth:`settle` would say ``READY``, or :class:`InputWidth`; nothing has changed then.
        """
        progress = self._progress()
        if progress is not SessionProgress.READY or self._first_incorrect is not None:
            raise NotReady("about to roll back" if progress is SessionProgress.READY else progress.value)
        frame = self.current
        self.inputs.register(inputs, source, frame)
        predict, known = self._predict, self.inputs.confirmed
        if frame <= known:
            joint = tuple([queue.value(frame) for queue in self.queues])
        else:
            joint = tuple(
                [
                    queue.value(frame) if frame <= queue.last else predict(history, frame)
                    for queue, history in self._histories
                ]
            )
            self.stats.lag += frame - known
        self.stats.frames += 1
        outcome = self._simulation.step(joint)
        self._used.append(joint)
        self.current = after = frame + 1
        saved = after % self._snapshots.every == 0
        if saved:
            self._snapshots.put(after, self._simulation.save())
        if outcome.terminal:
            self._terminal = frame
        if self._recorder is not None:
            self._recorder.simulated(frame, joint, frame > known, outcome, saved)

    def register(self, inputs: Sequence[bytes], source: int = REAL) -> None:
        """Fix the local inputs decided at the present frame, for ``input_delay`` frames later.

        Part of :meth:`step`. In lockstep it must happen before the other players' inputs can be waited for, so there
        it is called first; the first call for a frame counts, later ones change nothing: an input is a fact.
        """
        self.inputs.register(inputs, source, self.current)

    def _progress(self) -> SessionProgress:
        # 6. A terminal frame is the end only when it is canonical; until then a rollback may take it away.
        end = self._terminal
        if self._last_frame is not None and (end is None or self._last_frame < end):
            end = self._last_frame
        if end is not None and self.current > end:
            return SessionProgress.OVER if self.canonical > end else SessionProgress.TERMINAL
        # 7. Last, because everything above may have moved the confirmed frame.
        return SessionProgress.READY if self._may_simulate() else SessionProgress.STALLED

    # -- the past ------------------------------------------------------------------------------------------------

    def _roll_back(self, target: int) -> None:
        if target < self.canonical:
            raise InvariantViolation(f"rollback to frame {target}, but {self.canonical} frames are canonical")
        start, snapshot = self._snapshots.latest(target)
        wrong = self._used[target - self._used_base]
        player = self._wrong_player(target)
        if player is None:
            raise InvariantViolation(f"rollback to frame {target}, which was simulated with the right inputs")
        event = Rollback(self.current, target, player, wrong[player], self.queues[player].value(target))
        recorder, stats = self._recorder, self.stats
        if recorder is not None:
            recorder.rolling_back(event)
        stats.rollbacks += 1
        stats.depths[event.depth] += 1
        self._simulation.load(snapshot)
        self._snapshots.cut(start)
        self._first_incorrect = None
        self._terminal = None
        self.current = self._resimulate(start, target, self.current)

    def _wrong_player(self, frame: int) -> int | None:
        """The lowest player whose known input for a simulated frame is not what it was simulated with."""
        return self.inputs.wrong_player(frame, self._used[frame - self._used_base])

    def _resimulate(self, start: int, target: int, end: int) -> int:
        """Simulate frames ``start .. end - 1`` again; those below ``target`` were right.

        Returns the frame to go on from: ``end``, or less if the corrected episode ends earlier.
        """
        simulation, recorder = self._simulation, self._recorder
        step, save, put = simulation.step, simulation.save, self._snapshots.put
        queues, histories, used, base = self.queues, self._histories, self._used, self._used_base
        every, known, predict = self.settings.save_every, self.inputs.confirmed, self._predict
        for frame in range(start, end):
            if frame < target:
                joint = used[frame - base]
            elif frame <= known:
                joint = tuple([queue.value(frame) for queue in queues])
                used[frame - base] = joint
            else:
                joint = tuple(
                    [
                        queue.value(frame) if frame <= queue.last else predict(history, frame)
                        for queue, history in histories
                    ]
                )
                used[frame - base] = joint
            outcome = step(joint)
            after = frame + 1
            saved = after % every == 0
            # With sparse saving the anchor is kept as well: it is where the next rollback most likely starts.
            if saved or frame == known:
                put(after, save())
            if recorder is not None:
                if frame < target:
                    recorder.repeated(frame)
                else:
                    # The anchor's snapshot may be gone by the frame's promotion, so it does not count.
                    recorder.simulated(frame, joint, frame > known, outcome, saved)
            if outcome.terminal:
                # Frames beyond belong to no episode any more.
                self._terminal = frame
                del used[after - base :]
                self.stats.resimulated += after - start
                return after
        self.stats.resimulated += end - start
        return end

    def _promote(self, final: int) -> None:
        interval, every, recorder = self.settings.checksum_interval, self._digest_every, self._recorder
        queues, all_real = self.queues, self._all_real
        filled = self.inputs.any_closed or any([queue.idle for queue in queues])
        for frame in range(self.canonical, final + 1):
            after = frame + 1
            snapshot: Any = None
            digest = 0
            if every and after % every == 0:
                snapshot = self._snapshots.get(after)
                if snapshot is None:
                    raise InvariantViolation(f"the snapshot of frame {after} is missing at its promotion")
                digest = self._simulation.digest(snapshot)
                if interval and after % interval == 0:
                    self.checksums.own(after, digest)
            if recorder is not None:
                inputs = tuple([queue.value(frame) for queue in queues])
                sources = tuple([queue.source(frame) for queue in queues]) if filled else all_real
                recorder.promoted(frame, inputs, sources, snapshot, digest)
            self.canonical = after

    def _discard(self, anchor: int) -> None:
        self._snapshots.discard(anchor)
        oldest = self._snapshots.oldest
        for queue in self.queues:
            queue.trim(oldest)
        if oldest - self._used_base > 512:
            del self._used[: oldest - self._used_base]
            self._used_base = oldest
