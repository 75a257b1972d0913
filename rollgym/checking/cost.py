"""What a game costs: microseconds of each call, and the largest prediction window that fits into a frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from games.contract import Game
from rollgym.checking.trace import Trace

ROLLBACK = 8
"""Frames of the rollback that is measured: a usual prediction window."""

MOST = 3600
"""No window is larger."""


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


def measure(game: Game, trace: Trace, fps: float) -> Cost:
    """Play a trace and stop the time. The trace must have frames."""
    game.reset(trace.seed)
    snapshots = []
    step = 0.0
    for joint in trace.inputs:
        snapshots.append(game.save())
        began = time.perf_counter()
        game.step(joint)
        step += time.perf_counter() - began
    step = step / len(trace.inputs) * 1e6
    last = game.save()
    save = _each(game.save)
    digest = _each(lambda: game.digest(last))
    observe = _each(game.observe)
    # Two states in turn: going to where one is already may cost nothing.
    before = snapshots[-1]
    load = _each(lambda: (game.load(before), game.load(last))) / 2
    start = max(0, len(trace.inputs) - ROLLBACK)

    def roll_back() -> None:
        game.load(snapshots[start])
        for joint in trace.inputs[start:]:
            game.step(joint)
            game.save()

    rollback = _each(roll_back) * ROLLBACK / (len(trace.inputs) - start)
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


def _each(call: Callable[[], Any], budget: float = 0.03, most: int = 200) -> float:
    """Mean microseconds of a call: as many as fit into ``budget`` seconds, at least three."""
    call()
    done, began = 0, time.perf_counter()
    while done < 3 or (done < most and time.perf_counter() - began < budget):
        call()
        done += 1
    return (time.perf_counter() - began) / done * 1e6
