"""Pieces of work that are timed in a process of their own, so that two forms of rollgym can take turns.

Reads lines ``NAME FRAMES`` and answers each with the seconds of processor time that it took. The first answer is
whether this is the compiled form.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

from benchmarks.bench_peer import POLICIES, play_match
from benchmarks.bench_simulate import Match
from benchmarks.bench_synctest import benchmark_inputs, play_synctest
from rollgym.protocol.build_form import is_compiled


def work(name: str, frames: int) -> Callable[[], object]:
    """The work of that name, prepared."""
    if name.startswith("synctest "):
        inputs, distance = benchmark_inputs(frames), int(name.removeprefix("synctest "))
        return lambda: play_synctest(inputs, distance)
    if name.startswith("pong "):
        match = Match("pong", 60, frames, int(name.removeprefix("pong ")))

        def play() -> None:
            match.play()
            assert match.stats[0]["frames"]  # which also raises if the two players' episodes differ

        return play
    policy = name.removeprefix("peer ")
    assert policy in POLICIES
    return lambda: play_match(frames, policy)


def answer() -> None:
    """Until there are no more lines."""
    print(is_compiled(), flush=True)
    for line in sys.stdin:
        name, _, frames = line.rstrip("\n").rpartition(" ")
        call = work(name, int(frames))
        gc.collect()
        began = time.process_time()
        call()
        print(time.process_time() - began, flush=True)


if __name__ == "__main__":
    answer()
