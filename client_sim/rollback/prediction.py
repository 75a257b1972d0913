"""Stand-ins for inputs that have not arrived.

A predictor is a pure function of one player's confirmed inputs and the frame: the same confirmed inputs give
the same prediction, whenever it is asked. Anything else would make rollbacks depend on packet timing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from rollgym.client_sim.rollback.input_queue import InputQueue

Predictor = Callable[[InputQueue, int], bytes]
"""``(confirmed inputs of the player, frame) -> input``. May read ``queue.last``, ``queue.default`` and
``queue.value(f)`` for the newest ``HISTORY`` frames up to ``queue.last``; must not change the queue."""


def repeat_last(queue: InputQueue, frame: int) -> bytes:
    """The newest confirmed input; the default before there is one. Right for held buttons."""
    values = queue.values
    return values[-1] if values else queue.default


def default_input(queue: InputQueue, frame: int) -> bytes:
    """Always the default input. Right for games of single taps."""
    return queue.default


def repeat_except(one_shot: Collection[bytes]) -> Predictor:
    """Repeat the newest confirmed input unless it is one of ``one_shot`` (a throw, an interaction)."""
    taps = frozenset(one_shot)

    def predict(queue: InputQueue, frame: int) -> bytes:
        values = queue.values
        return values[-1] if values and values[-1] not in taps else queue.default

    return predict
