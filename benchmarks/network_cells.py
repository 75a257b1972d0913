"""One condition at one input delay: what play was like. And what GGRS and Fortress are known to reach."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from benchmarks.matches import scenario
from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.protocol.messages import PlaySettings

FPS = 60.0


class Cell(Struct, frozen=True):
    """Means over seeds and peers. ``resimulated`` is None where no reference is known."""

    fps: float
    stalled: float
    """Percent of ticks on which the prediction window forbade a frame."""
    resimulated: float | None
    """Re-simulated frames per frame."""
    depth: int = 0
    """The deepest rollback, in frames."""

    def shown(self) -> str:
        """``fps / stalled / re-simulated``, as the tables have it."""
        more = "" if self.resimulated is None else f" / {self.resimulated:.2f}"
        return f"{self.fps:.1f} / {self.stalled:.1f} %{more}"


def _ms(latency: float, jitter: float = 0, **others: float) -> NetworkConditions:
    """Milliseconds and percent, as the table has them."""
    probabilities = {name: value / 100 for name, value in others.items() if name in ("loss", "duplicate")}
    rest = {name: value for name, value in others.items() if name not in probabilities}
    return NetworkConditions(latency=latency / 1000, jitter=jitter / 1000, **probabilities, **rest)  # type: ignore[arg-type]


REFERENCE: dict[str, tuple[Link, dict[int, Cell]]] = {
    name: (Link.both(conditions), {0: Cell(*without), 2: Cell(*with_delay)})
    for name, conditions, without, with_delay in (
        ("30 ms clean", _ms(30), (60.0, 0.0, 0.59), (60.0, 0.0, 0.12)),
        ("5 %, 50±10", _ms(50, 10, loss=5), (60.0, 0.0, 0.82), (60.0, 0.0, 0.35)),
        ("15 %, 50±20", _ms(50, 20, loss=15), (59.9, 0.1, 0.83), (60.0, 0.0, 0.37)),
        ("15 %, duplicate 10 %, 50±50", _ms(50, 50, loss=15, duplicate=10), (60.0, 0.1, 0.63), (60.0, 0.0, 0.26)),
        ("30 %, 50±20", _ms(50, 20, loss=30), (59.2, 1.4, 0.86), (59.9, 0.1, 0.43)),
        (
            "burst 2 % x 8, 2 %, 60±15",
            _ms(60, 15, loss=2, burst_start=0.02, burst_length=8),
            (56.6, 5.6, 0.92),
            (59.3, 1.0, 0.54),
        ),
        ("2 %, 120±15", _ms(120, 15, loss=2), (51.8, 13.7, 1.49), (59.4, 0.9, 1.31)),
        ("15 %, 250±100", _ms(250, 100, loss=15), (29.2, 51.4, 1.31), (33.9, 43.6, 1.12)),
        ("stream 50±10, retransmit 200", _ms(50, 10, retransmit=0.2), (60.0, 0.0, None), (60.0, 0.0, None)),
        ("stream, loss 1 %", _ms(50, 10, loss=1, retransmit=0.2), (48.0, 19.3, None), (51.4, 12.7, None)),
        ("stream, loss 5 %", _ms(50, 10, loss=5, retransmit=0.2), (35.7, 40.3, None), (41.4, 30.8, None)),
    )
}
"""Known figures of GGRS and Fortress Rollback (they agree within noise), by input delay: 60 fps, window 8, inputs
change every 4 frames, 3,000 confirmed frames, no desync. Times in ms, one way; loss once per direction."""


def measure(link: Link, delay: int, window: int, frames: int, seeds: Sequence[int]) -> Cell:
    """Play. Raises ``AssertionError`` for an episode that is not complete and equal at both peers."""
    settings = PlaySettings(episodes=1, fps=FPS, frame_limit=frames, input_delay=delay, max_prediction=window)
    fps, stalled, resimulated, depth = 0.0, 0.0, 0.0, 0
    for seed in seeds:
        players = simulate(scenario("drift", settings, link, seed=seed)).players
        exports = [player.exports[0] for player in players]
        if len({export.digest for export in exports}) != 1 or any(e.header.status != "complete" for e in exports):
            raise AssertionError(f"seed {seed}: episodes differ or are not complete")
        if any(player.desyncs for player in players):
            raise AssertionError(f"seed {seed}: desync")
        for export in exports:
            stats = export.own.stats
            if stats["confirmed_frames"] != frames:
                raise AssertionError(f"seed {seed}: {stats['confirmed_frames']} frames confirmed, not {frames}")
            fps += stats["fps"]
            stalled += 100 * stats["stall_share"]
            resimulated += stats["resimulated_frames"] / stats["frames"]
            depth = max(depth, stats["rollback_depth_max"])
    count = 2 * len(seeds)
    return Cell(fps / count, stalled / count, resimulated / count, depth)


def verdict(ours: Cell, reference: Cell) -> str:
    """``equal``, ``better``, or what is worse, beyond the rounding of the reference."""
    better, worse = [], []
    for name, difference, tolerance in (
        ("fps", reference.fps - ours.fps, 0.01 * reference.fps),
        ("stalls", ours.stalled - reference.stalled, 0.1),
        ("re-simulated", (ours.resimulated or 0.0) - (reference.resimulated or 0.0), 0.02),
    ):
        if name == "re-simulated" and reference.resimulated is None:
            continue
        if difference > tolerance:
            worse.append(name)
        elif difference < -tolerance:
            better.append(name)
    if worse:
        return f"worse: {', '.join(worse)}" + (f"; better: {', '.join(better)}" if better else "")
    return "better" if better else "equal"
