"""The compiled form against the pure one: the same work in two processes that take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from benchmarks.bench_peer import POLICIES
from benchmarks.measuring import Report, at_least, figure, main
from scripts.compiled_tree import ROOT, bring_up_to_date

TREE = ROOT / "build" / "compiled"
"""Where the compiled form is; `make compiled` leaves it there."""

WORK = {
    **{f"peer {name}": (2_000, 2.2, f"wire peer, {name}") for name in POLICIES},
    "synctest 8": (20_000, 3.0, "synctest, distance 8"),
    "pong 2": (2_000, 1.8, "simulate pong, input delay 2"),
    "pong 0": (2_000, None, "simulate pong, input delay 0"),
}
"""Work: frames, how many times as fast it should be, what it is called."""

NOTES = """
Times are processor time of the process that does the work, the smallest of all rounds, in which the two forms take
turns. Drift and Pong are compiled as well; policies, numpy and MessagePack are what they are in both forms.
"""


class Form:
    """One form of rollgym in a process of its own."""

    def __init__(self, folder: Path, compiled: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.timed_work"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != str(compiled):
            raise AssertionError(f"{folder} does not hold the {'compiled' if compiled else 'pure'} form")

    def seconds(self, name: str, frames: int) -> float:
        """Do a piece of work once."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {frames}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the process that does the work ended")
        return line.strip()

    def __enter__(self) -> Form:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()


def run(quick: bool) -> Report:
    """Measure. Builds the compiled form if it is not there, or older than a source."""
    bring_up_to_date(TREE)
    rounds = 1 if quick else 12
    figures = []
    with Form(ROOT, compiled=False) as pure, Form(TREE, compiled=True) as compiled:
        for name, (frames, target, title) in WORK.items():
            count = frames // 10 if quick else frames
            times = [(pure.seconds(name, count), compiled.seconds(name, count)) for _ in range(rounds)]
            slow, fast = (min(column) for column in zip(*times, strict=True))
            wanted = None if target is None else at_least(slow / fast, target)
            figures += [
                figure(f"{title}, pure", count / slow, "frames/s", note="the baseline"),
                figure(f"{title}, compiled", count / fast, "frames/s"),
                figure(f"{title}, compiled against pure", slow / fast, "x", wanted),
            ]
    return Report("Compiled and pure", figures, NOTES)


if __name__ == "__main__":
    raise SystemExit(main(run))
