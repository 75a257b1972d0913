"""Every kind of predictor, each beside the same rule over a plain list of facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollgym.client_sim.rollback.input_queue import InputQueue
from rollgym.client_sim.rollback.prediction import Predictor, default_input, repeat_except, repeat_last

DEFAULT = b"\x00"


def two_back(queue: InputQueue, frame: int) -> bytes:
    """A user's own predictor: continues a pattern of two inputs."""
    if queue.last < 1:
        return queue.default
    return queue.value(queue.last - (1 if (frame - queue.last) % 2 else 0))


Guess = Callable[[Sequence[bytes], int], bytes]
"""The same as a predictor, over the harness's own list of facts."""

PREDICTORS: dict[str, tuple[Predictor, Guess]] = {
    "repeat_last": (repeat_last, lambda facts, frame: facts[-1] if facts else DEFAULT),
    "default": (default_input, lambda facts, frame: DEFAULT),
    "one_shot": (
        repeat_except({b"\x01", b"\x03"}),
        lambda facts, frame: facts[-1] if facts and facts[-1] not in (b"\x01", b"\x03") else DEFAULT,
    ),
    "two_back": (
        two_back,
        lambda facts, frame: DEFAULT if len(facts) < 2 else facts[-2] if (frame - len(facts) + 1) % 2 else facts[-1],
    ),
}
