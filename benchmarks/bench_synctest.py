"""Synctest of drift: what the rollback core costs around the game's own work, and that it costs the same for ever."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

from benchmarks.measuring import Report, at_least, at_most, figure, interleaved, main
from rollgym.client_sim.rollback import Session, SessionProgress, SessionSettings, SyncTest
from rollgym.games.builtin.drift.rules import Drift, benchmark_input
from rollgym.games.contract import JointInput

DISTANCES = (0, 1, 4, 8)

# The table of docs/games/drift.md: what independent implementations of the game have after so many frames.
CHECKSUMS = {1_000: 0x44B4C38FBFC1BAA1, 200_000: 0x366CF986B14B0A22}

# netplayjs (TypeScript on V8), the same game and inputs, one core of a shared Xeon, median of 3: frames/s.
# Known figures from another machine: they say what order of magnitude its users are used to, no more.
NETPLAYJS_DEFAULT = {1: 118_000, 4: 55_000, 8: 30_000}
NETPLAYJS_BY_HAND = {1: 187_000, 4: 81_000, 8: 51_000}
NETPLAYJS_NO_ROLLBACK = {1_000: 34_000, 20_000: 2_600}

IDLE = [b"\0", b"\0"]
Inputs = list[JointInput]


NOTES = """
Overhead: what a re-simulated frame costs beyond its step + save + digest. GGRS and Fortress spend about 3x their own
step + save + hash; they are compiled, and known figures of theirs elsewhere are 6.6 M, 2.1 M, 0.8 M and 0.35 to 0.45 M
frames/s at distances 0, 1, 4, 8.

Frame 100,000 against frame 1,000: blocks of 2,000 frames of a game whose every frame is the same work; sessions of 2
players, no recorder, checksums every 10 frames; late inputs are 3 frames late.
"""


def run(quick: bool) -> Report:
    """Measure."""
    frames, rounds = (1_000, 1) if quick else (20_000, 7)
    inputs = benchmark_inputs(frames)
    calls: list[Callable[[], None]] = [lambda: _bare(inputs), lambda: _step_only(inputs)]
    calls += [lambda d=distance: play_synctest(inputs, d) for distance in DISTANCES]  # type: ignore[misc]
    bare, step, *synctests = (seconds / frames for seconds in interleaved(calls, rounds))
    _check_final(1_000 if quick else 200_000, benchmark_inputs(1_000 if quick else 200_000))

    figures = [
        figure("step", step * 1e6, "us"),
        figure("step + save + digest", bare * 1e6, "us", note="the baseline: the game's work for one frame"),
    ]
    per_frame = dict(zip(DISTANCES, synctests, strict=True))
    for distance, seconds in per_frame.items():
        # At distance d a frame is simulated once and re-simulated d times; at 0 there is only the first.
        known = f"netplayjs elsewhere: {_netplayjs(distance)}"
        target = at_least(1 / seconds, 34_000 if distance == 0 else NETPLAYJS_DEFAULT[distance])
        figures.append(figure(f"synctest, distance {distance}", 1 / seconds, "frames/s", target, known))
    for distance in DISTANCES[1:]:
        overhead = (per_frame[distance] - per_frame[0]) / distance / bare - 1
        target = at_most(overhead, 1.0)
        figures.append(figure(f"overhead per re-simulated frame, distance {distance}", overhead, "x baseline", target))
    figures += [
        figure(f"all simulated frames alike, distance {distance}", seconds / (distance + 1) / bare, "x baseline")
        for distance, seconds in per_frame.items()
    ]
    figures += [
        figure(f"frame 100,000 against frame 1,000, {name}", ratio, "x", at_most(ratio, 1.1))
        for name, ratio in _flatness(quick).items()
    ]
    return Report(
        "Synctest of drift",
        figures,
        NOTES,
    )


def benchmark_inputs(frames: int) -> Inputs:
    """The reference workload: joint inputs of frames ``0 .. frames - 1``."""
    actions = [bytes((action,)) for action in range(16)]
    return [(actions[benchmark_input(0, frame)], actions[benchmark_input(1, frame)]) for frame in range(frames)]


def _netplayjs(distance: int) -> str:
    if distance == 0:
        return ", ".join(f"{rate:,} at {frames:,} frames" for frames, rate in NETPLAYJS_NO_ROLLBACK.items())
    return f"{NETPLAYJS_DEFAULT[distance]:,}, serialised by hand {NETPLAYJS_BY_HAND[distance]:,}"


def _step_only(inputs: Inputs) -> None:
    step = Drift().step
    for joint in inputs:
        step(joint)


def _bare(inputs: Inputs) -> None:
    game = Drift()
    step, save, digest = game.step, game.save, game.digest
    for joint in inputs:
        step(joint)
        digest(save())


def play_synctest(inputs: Inputs, distance: int) -> None:
    advance = SyncTest(Drift(), IDLE, distance).advance
    for joint in inputs:
        advance(joint)


def _check_final(frames: int, inputs: Inputs) -> None:
    """Rolled back 8 frames at every frame, the game must end where independent implementations end."""
    game = Drift()
    test = SyncTest(game, IDLE, 8)
    for joint in inputs:
        test.advance(joint)
    if game.checksum() != CHECKSUMS[frames]:
        raise AssertionError(f"checksum {game.checksum():016x} after {frames} frames: not {CHECKSUMS[frames]:016x}")


# --- does it slow down ------------------------------------------------------------------------------------------

Play = Callable[[int], None]


class _Mixer:
    """A game whose every frame is the same work. Drift's is not: a frame with a hit or a point takes longer."""

    terminal = False

    def __init__(self) -> None:
        self._state = 1

    def step(self, inputs: JointInput) -> _Mixer:
        self._state = (self._state * 1103515245 + inputs[0][0] * 16 + inputs[1][0]) & 0x7FFFFFFF
        return self

    def save(self) -> int:
        return self._state

    def load(self, snapshot: int) -> None:
        self._state = snapshot

    def digest(self, snapshot: int) -> int:
        return snapshot


def _flatness(quick: bool) -> dict[str, float]:
    """Time of a block of frames late in play, relative to an equal one early in play."""
    late, block, rounds = (2_000, 200, 1) if quick else (100_000, 2_000, 9)
    makers: dict[str, Callable[[], Play]] = {
        "synctest, distance 4": _synctest_player,
        "session, inputs early": lambda: _session_player(-20),
        "session, inputs on time": lambda: _session_player(0),
        "session, inputs late": lambda: _session_player(3),
    }
    return {name: _late_against_early(maker, late, block, rounds) for name, maker in makers.items()}


def _late_against_early(maker: Callable[[], Play], late: int, block: int, rounds: int) -> float:
    old = maker()
    old(late - block)
    ratios = [float("inf"), float("inf")]
    for _ in range(rounds):
        young = maker()
        young(1_000)
        times = interleaved([lambda young=young: young(block), lambda: old(block)], 1)  # type: ignore[misc]
        ratios = [min(pair) for pair in zip(ratios, times, strict=True)]
    return ratios[1] / ratios[0]


def _synctest_player() -> Play:
    test = SyncTest(_Mixer(), IDLE, 4)
    inputs = cycle(benchmark_inputs(1_000))

    def play(frames: int) -> None:
        for joint in islice(inputs, frames):
            test.advance(joint)

    return play


def _session_player(late: int) -> Play:
    """A session whose remote inputs arrive ``late`` ticks after their frame was due (negative: ahead of it)."""
    session = Session(_Mixer(), IDLE, (0,), SessionSettings(input_delay=0, max_prediction=8))
    local, remote = (list(values) for values in zip(*benchmark_inputs(1_000), strict=True))

    def play(frames: int) -> None:
        for _ in range(frames):
            current = session.current
            arrived = current - late
            if arrived >= 0:
                # Every packet repeats what came before, as on the wire.
                start = max(0, arrived - 2) if session.queues[1].next else 0
                values = [remote[frame % 1_000] for frame in range(start, arrived + 1)]
                session.add_inputs(1, start, values)
            if session.settle() is not SessionProgress.READY:
                raise AssertionError(f"stalled at frame {current}")
            session.step((local[current % 1_000],))

    return play


if __name__ == "__main__":
    raise SystemExit(main(run))
