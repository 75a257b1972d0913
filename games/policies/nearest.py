"""From what a network puts out to an action."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


def nearest(space: spaces.Box, values: NDArray[Any]) -> NDArray[Any]:
    """The member of a Box that is nearest to some numbers, of as many as it has; halves go to the even number.

    Whole numbers are compared as Python has them: a float64 between the bounds of an int64 may be none of it.
    """
    dtype = np.dtype(space.dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            bounded = np.clip(values.astype(np.float64), space.low.ravel(), space.high.ravel()).astype(dtype)
        return bounded.reshape(space.shape)
    bounds = zip(values.ravel().tolist(), space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True)
    whole = [_between(value, int(low), int(high)) for value, low, high in bounds]
    return np.array(whole, dtype).reshape(space.shape)


def _between(value: float, low: int, high: int) -> int:
    if value <= low:
        return low
    return high if value >= high else round(value)
