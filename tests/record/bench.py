"""A bare session with a recorder, its other player's inputs in the test's hand, and what must hold after every call."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.interfaces import Rollback
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings
from rollgym.games.frame_limit import limited
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.protocol.episode.export import Canonical
from tests.record.probe import ACTIONS, GameLog, Probe


def rows(canonical: Canonical, frames: int) -> tuple[Any, ...]:
    """The first frames of a canonical part, comparable."""
    columns = []
    for name, column in sorted(canonical.columns.items()):
        more = name.startswith(("observations/", "state_digest"))
        columns.append((name, column.dtype, column.array()[: frames + more].tobytes()))
    return (*columns, *[info for info in canonical.infos if info.row <= frames])


class Watched(EpisodeRecorder):
    """A recorder that looks at its buffers at each rollback."""

    def rolling_back(self, event: Rollback) -> None:
        before = self.canonical.frames
        super().rolling_back(event)
        assert self.speculative.end == event.to_frame, "REC-05: rows from the target on are gone"
        assert self.canonical.frames == before <= event.to_frame, "REC-05: and none of them was canonical"


class Bench:
    """Player 0 plays here. Player 1's inputs are decided beforehand and arrive when :meth:`deliver` is called."""

    def __init__(
        self, *, limit: int = 40, delay: int = 1, window: int = 8, save_every: int = 1, seed: int = 0, hold: int = 1
    ) -> None:
        draw = random.Random(seed)
        self.limit = limit
        self.log = GameLog()
        self.game = limited(Probe(log=self.log), limit)
        infos = self.game.reset(seed)
        self.recorder = Watched(self.game, infos, 0)
        settings = SessionSettings(delay, window, save_every, checksum_interval=save_every * 4)
        self.session = Session(self.game, self.game.spec.default_inputs, (0,), settings, recorder=self.recorder)
        theirs = [draw.randrange(ACTIONS) for _ in range(0, limit + window + delay + 8, hold) for _ in range(hold)]
        self.theirs = [bytes([action]) for action in theirs]
        self.mine: list[bytes] = [b"\0"] * delay
        self.delivered = 0
        self.thorough = True
        """Compare all canonical rows after every call, not just their number. Too slow for long episodes."""
        self.progress = SessionProgress.READY
        self._draw = draw
        self._proven: tuple[int, tuple[Any, ...]] = (0, ())

    # -- what happens ------------------------------------------------------------------------------------------------

    def deliver(self, count: int, *, again: int = 0) -> None:
        """The next ``count`` inputs of player 1 arrive, and the ``again`` before them once more."""
        start = max(0, self.delivered - again)
        canonical = self.recorder.canonical.frames
        end = min(self.delivered + count, self.session.current + 200, len(self.theirs))
        self.session.add_inputs(1, start, self.theirs[start:end])
        self.delivered = max(self.delivered, end)
        assert self.recorder.canonical.frames == canonical, "arriving alone makes nothing canonical"
        self.check()

    def settle(self) -> SessionProgress:
        self.progress = self.session.settle()
        session = self.session
        assert session.rollback_pending is None
        assert session.canonical == min(session.confirmed, session.current - 1) + 1, "promoted as far as it can be"
        self.check()
        return self.progress

    def tick(self) -> None:
        """One frame, if the session is ready for it."""
        if self.settle() is SessionProgress.READY:
            action = bytes([self._draw.randrange(ACTIONS)])
            if self.session.queues[0].next <= self.session.current + self.session.settings.input_delay:
                self.mine.append(action)
            self.recorder.observe(self.session.current)
            self.session.step([action])
            self.check()

    def finish(self) -> Canonical:
        """Deliver everything and play to the end."""
        for _ in range(4 * self.limit):
            self.deliver(4)
            self.tick()
            if self.progress is SessionProgress.OVER:
                break
        assert self.progress is SessionProgress.OVER
        built = self.recorder.build()
        assert built.columns["frame"].shape == (self.limit,)
        return built

    # -- what must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        session, recorder = self.session, self.recorder
        assert recorder.speculative.end == session.current, "REC-01: every simulated frame is in a buffer"
        assert recorder.speculative.first == session.canonical == recorder.canonical.frames, "REC-02: exactly once"
        assert session.canonical <= min(session.confirmed, session.current - 1) + 1, "REC-02: all inputs are known"
        pending = session.rollback_pending
        assert pending is None or pending >= session.canonical, "REC-02: and no rollback is due at or below it"
        frames = session.canonical
        if self.thorough and frames != self._proven[0]:
            built = recorder.build()
            assert rows(built, self._proven[0]) == self._proven[1] or not self._proven[0], "canonical rows never change"
            assert built.columns["actions/0"].data == b"".join(self.mine[:frames])
            assert built.columns["actions/1"].data == b"".join(self.theirs[:frames])
            self._proven = (frames, rows(built, frames))

    def fingerprint(self) -> tuple[Any, ...]:
        """Everything a refused call must leave as it was."""
        session, recorder = self.session, self.recorder
        return (
            session.current,
            session.canonical,
            session.confirmed,
            session.rollback_pending,
            session.terminal_frame,
            [list(queue.values) for queue in session.queues],
            session.stats.as_dict(),
            [(row.inputs, row.outcome) for row in recorder.speculative.rows()],
            rows(recorder.build(), session.canonical),
            list(recorder.rollbacks),
            [(h.simulated, h.rollbacks, h.speculative, h.mispredicted) for h in recorder.history],
            self.game.save(),
        )


def replayed(mine: Sequence[bytes], theirs: Sequence[bytes], frames: int, every: int, seed: int = 0) -> Canonical:
    """What a game that knows all inputs records."""
    game = limited(Probe(), frames)
    builder = CanonicalBuilder(game.spec)
    infos = game.reset(seed)
    builder.start(infos, game.observe(), game.digest(game.save()))
    for frame in range(frames):
        joint = (mine[frame], theirs[frame])
        outcome = game.step(joint)
        digest = 0 if (frame + 1) % every else game.digest(game.save())
        builder.append(joint, (0, 0), outcome, game.observe(), digest)
    return builder.build()


def random_schedule(seed: int, **settings: Any) -> Bench:
    """Play a whole episode with arrivals drawn from ``seed``, everything checked after every call."""
    draw = random.Random(seed)
    bench = Bench(seed=seed, **settings)
    for _ in range(3 * bench.limit):
        if draw.random() < 0.35:
            bench.deliver(draw.choice((1, 1, 2, 3, 9)), again=draw.choice((0, 0, 1, 5)))
        bench.tick()
    final = bench.finish()
    every = bench.session.settings.save_every
    twin = replayed(bench.mine, bench.theirs, bench.limit, every, seed)
    assert rows(final, bench.limit) == rows(twin, bench.limit)
    assert bench.recorder.rollbacks, "rollbacks really happened"
    return bench
