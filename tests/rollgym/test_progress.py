"""What ``rollgym run`` shows while it plays."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from rollgym.running.progress import ProgressDisplay


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _progress(frame: int, rtt: float | None = 0.0834) -> dict[str, Any]:
    return {
        "event": "progress",
        "episode": 1,
        "frame": frame,
        "confirmed_frames": frame - 2,
        "rollbacks": 7,
        "rollback_depth_max": 3,
        "stalls": 0,
        "rtt": rtt,
    }


def test_without_a_terminal_there_is_a_line_every_five_seconds() -> None:
    out, clock = io.StringIO(), _Clock()
    with ProgressDisplay(Console(file=out, width=200), 2, 3, clock) as progress:
        for tenth in range(121):
            clock.now = tenth / 10
            progress.hear(0, _progress(6 * tenth))
            progress.hear(1, _progress(6 * tenth - 1))
    lines = out.getvalue().splitlines()
    assert lines == [
        "episode 2/3  frame 300  confirmed 298  rollbacks 7  deepest 3  stalls 0  rtt 83 ms",
        "episode 2/3  frame 600  confirmed 598  rollbacks 7  deepest 3  stalls 0  rtt 83 ms",
    ]


def test_a_verdict_is_said_once_and_a_desync_at_once() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=200), 2, 3, _Clock()) as progress:
        for seat in (0, 1):
            progress.hear(seat, {"event": "paired", "match": "m1", "seed": 4})
            progress.hear(seat, {"event": "verdict", "episode": 0, "verdict": "verified", "detail": ""})
        progress.hear(1, {"event": "desync_found", "episode": 1, "frame": 40})
    assert out.getvalue().splitlines() == [
        "playing match m1, seed 4",
        "episode 1/3: verified",
        "peer 1: states differ at frame 40 of episode 2",
    ]


def test_in_a_terminal_there_is_a_table_of_both_peers() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=120, force_terminal=True), 2, 3, _Clock()) as progress:
        progress.hear(0, _progress(100))
        progress.hear(1, _progress(99, rtt=None))
    text = out.getvalue()
    assert "confirmed" in text
    assert "83 ms" in text
    assert "97" in text
