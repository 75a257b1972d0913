"""Every kind of predictor, each beside the same rule over a plain list of facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollgym.client_sim.rollback.prediction.catalogue import PREDICTORS as NAMED
from rollgym.client_sim.rollback.prediction.rule import InputHistory, Predictor

DEFAULT = b"\x00"


def two_back(history: InputHistory, frame: int) -> bytes:
    """A user's own rule: continues a pattern of two inputs."""
    if history.last < 1:
        return history.default
    return history.value(history.last - (1 if (frame - history.last) % 2 else 0))


def one_shot(history: InputHistory, frame: int) -> bytes:
    """Another one: what is pressed once is not held."""
    return history.default if history.newest in (b"\x01", b"\x03") else history.newest


Guess = Callable[[Sequence[bytes], int], bytes]
"""The same as a predictor, over the harness's own list of facts."""

PREDICTORS: dict[str, tuple[Predictor, Guess]] = {
    "repeat_last": (NAMED["repeat_last"], lambda facts, frame: facts[-1] if facts else DEFAULT),
    "default_input": (NAMED["default_input"], lambda facts, frame: DEFAULT),
    "one_shot": (
        one_shot,
        lambda facts, frame: facts[-1] if facts and facts[-1] not in (b"\x01", b"\x03") else DEFAULT,
    ),
    "two_back": (
        two_back,
        lambda facts, frame: DEFAULT if len(facts) < 2 else facts[-2] if (frame - len(facts) + 1) % 2 else facts[-1],
    ),
}
