"""The whole wire peer: two of them in one process, datagrams in memory, desync detection and recording on."""

from __future__ import annotations

from benchmarks.bench_synctest import IDLE, Inputs, benchmark_inputs
from benchmarks.matches import FaceToFace, starts_of
from benchmarks.measuring import Report, at_least, at_most, figure, interleaved, main
from rollgym.client_sim.rollback import SyncTest
from rollgym.games.builtin.drift.rules import Drift
from rollgym.protocol.messages import MatchStart, PlaySettings

POLICIES = {"without misprediction": "idle", "inputs change every 4 frames": "random_hold"}


NOTES = """
Drift, input delay 0, window 8, a packet every tick that arrives one tick later. A peer-frame is everything one peer
does for a frame: packet in, rollback if need be, observation, policy, step, save, digest, record, packet out. The
synctest does the step, the save and two digests.
"""


def run(quick: bool) -> Report:
    """Measure."""
    frames, rounds = (300, 1) if quick else (2_000, 20)
    inputs = benchmark_inputs(frames)
    results: dict[str, dict[str, float]] = {}
    calls = [lambda: _synctest(inputs)]
    calls += [lambda name=name: results.update({name: play_match(frames, name)}) for name in POLICIES]  # type: ignore[misc]
    synctest, *peers = (seconds / frames for seconds in interleaved(calls, rounds))
    figures = [figure("synctest, distance 0", 1 / synctest, "frames/s", note="the baseline")]
    for name, seconds in zip(POLICIES, peers, strict=True):
        each = seconds / 2
        stats = results[name]
        note = f"{stats['resimulated']:.2f} re-simulated per frame, {stats['checksums']:.0f} checksums matched"
        figures += [
            figure(f"peer, {name}", 1 / each, "peer-frames/s", at_least(1 / each, 25_000), note),
            figure(f"peer, {name}", each * 1e6, "us a frame"),
            figure(f"peer, {name}", each / synctest, "x synctest"),
        ]
    ratio = _late_against_early(quick)
    figures.append(figure("frame 20,000 against frame 1,000", ratio, "x", at_most(ratio, 1.1)))
    return Report(
        "Wire peer",
        figures,
        NOTES,
    )


def _starts(frames: int) -> list[MatchStart]:
    return starts_of(PlaySettings(episodes=1, fps=60.0, frame_limit=frames, input_delay=0, max_prediction=8))


def play_match(frames: int, name: str) -> dict[str, float]:
    policy = POLICIES[name]
    exports = FaceToFace(_starts(frames), "drift", (policy, policy)).play()
    one, two = (exports[player][0] for player in (0, 1))
    stats = one.own.stats
    if one.digest != two.digest or one.header.frames != frames or stats["checksums_matched"] < frames // 10 - 10:
        raise AssertionError(f"the peers disagree, or did not play: {stats}")
    if (policy != "idle") != (stats["rollbacks"] > 0):
        raise AssertionError(f"{stats['rollbacks']} rollbacks with policy {policy}")
    return {"resimulated": stats["resimulated_frames"] / frames, "checksums": stats["checksums_matched"]}


def _synctest(inputs: Inputs) -> None:
    advance = SyncTest(Drift(), IDLE, 0).advance
    for joint in inputs:
        advance(joint)


def _late_against_early(quick: bool) -> float:
    """Time of a block of frames late in an episode, relative to an equal one early in an episode."""
    late, block, rounds = (1_000, 100, 1) if quick else (20_000, 1_000, 5)
    old = FaceToFace(_starts(late * 2), "drift", ("random_hold", "random_hold"))
    old.play_frames(late - block)
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        young = FaceToFace(_starts(late * 2), "drift", ("random_hold", "random_hold"))
        young.play_frames(1_000 - block)
        pair = [lambda young=young: young.play_frames(block), lambda: old.play_frames(block)]  # type: ignore[misc]
        best = [min(seconds) for seconds in zip(best, interleaved(pair, 1), strict=True)]
    return best[1] / best[0]


if __name__ == "__main__":
    raise SystemExit(main(run))
