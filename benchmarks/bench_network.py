"""Network quality: stalls and re-simulated frames under the conditions that the best engines were measured in."""

from __future__ import annotations

import msgspec

from benchmarks.measuring import Figure, Report, main
from benchmarks.network_cells import REFERENCE, Cell, measure, verdict

NOTES = """
Drift at 60 fps, inputs change every 4 frames, mean of all seeds and both peers; every episode complete, equal at both
peers, without a desync. Per cell: fps, share of ticks stalled, re-simulated frames per frame, and what GGRS and
Fortress are known to reach (they agree within noise). Their window of 8 counts the frame that is being simulated: the
deepest speculation is 7 frames beyond what is confirmed, which is our max_prediction 7. With 8 a peer speculates one
frame deeper, which trades stalls for re-simulated frames.

A target is met if fps is within 1 %, the stall share at most 0.1 points higher and at most 0.02 frames more are
re-simulated per frame (the reference has one and two digits).
"""


def run(quick: bool) -> Report:
    """Measure."""
    frames, seeds, rows = (200, (1,), dict(list(REFERENCE.items())[:2])) if quick else (3_000, (1, 2, 3), REFERENCE)
    figures = [
        _figure(
            f"{name}, delay {delay}, window {window}", measure(link, delay, window, frames, seeds), reference, window
        )
        for name, (link, references) in rows.items()
        for delay, reference in references.items()
        for window in (7, 8)
    ]
    return Report("Network quality against GGRS and Fortress", figures, NOTES)


def _figure(name: str, cell: Cell, reference: Cell, window: int) -> Figure:
    found = verdict(cell, reference)
    note = f"{cell.shown()}; reference {reference.shown()}: {found}"
    details = {key: value for key, value in msgspec.structs.asdict(cell).items() if value is not None}
    if window != 7:
        return Figure(name, cell.fps, "fps", "", None, note, details)
    return Figure(name, cell.fps, "fps", "no worse", "worse" not in found, note, details)


if __name__ == "__main__":
    raise SystemExit(main(run))
