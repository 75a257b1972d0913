"""What a game costs: microseconds of each call, and the largest prediction window that fits into a frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from rollgym.checking.trace import Trace
from rollgym.games.contract import Game

ROLLBACK = 8
"""Frames of the rollback that is measured: a usual prediction window."""

MOST = 3600
"""No window is larger."""


Clock: TypeAlias = Callable[[], float]


class Cost(Struct, frozen=True):
    """Microseconds, but for the last two."""

    step: float
    save: float
    load: float
    digest: float
    observe: float
    rollback_8: float
    """A load, then eight times step and save."""
    state_bytes: int
    window: int
    """Frames that can be rolled back within one frame at the wanted rate, beside that frame's own work. -1: the game
    does not even reach that rate without any rollback."""


def measure(game: Game, trace: Trace, fps: float, clock: Clock = time.perf_counter) -> Cost:
    """Play a trace and stop the time. The trace must have frames."""

    def each(call: Callable[[], Any]) -> float:
        return _each(call, clock)

    game.reset(trace.seed)
    snapshots = []
    step = 0.0
    for joint in trace.inputs:
        snapshots.append(game.save())
        began = clock()
        game.step(joint)
        step += clock() - began
    step = step / len(trace.inputs) * 1e6
    last = game.save()
    save = each(game.save)
    digest = each(lambda: game.digest(last))
    observe = each(game.observe)
    # Two states in turn: going to where one is already may cost nothing.
    before = snapshots[-1]
    load = each(lambda: (game.load(before), game.load(last))) / 2
    start = max(0, len(trace.inputs) - ROLLBACK)

    def roll_back() -> None:
        game.load(snapshots[start])
        for joint in trace.inputs[start:]:
            game.step(joint)
            game.save()

    rollback = each(roll_back) * ROLLBACK / (len(trace.inputs) - start)
    window = largest_window(1e6 / fps, step + save, load, digest + observe)
    return Cost(
        round(step, 2),
        round(save, 2),
        round(load, 2),
        round(digest, 2),
        round(observe, 2),
        round(rollback, 1),
        len(game.state_bytes(last)),
        window,
    )


def largest_window(frame: float, simulated: float, load: float, beside: float) -> int:
    """How many frames can be rolled back within one that lasts ``frame`` microseconds and simulates itself as well.

    ``simulated`` is a step with its save, ``beside`` what a frame costs besides. -1 if the frame alone is too much.
    """
    left = frame - simulated - beside
    if left < 0:
        return -1
    return max(0, min(MOST, int((left - load) // simulated)))


def _each(call: Callable[[], Any], clock: Clock, budget: float = 0.03, most: int = 1000) -> float:
    """Mean microseconds of a call: as many as fit into ``budget`` seconds, at least three."""
    began = clock()
    call()
    once = max(clock() - began, 1e-7)
    count = min(most, max(3, int(budget / once)))
    began = clock()
    for _ in range(count):
        call()
    return (clock() - began) / count * 1e6
