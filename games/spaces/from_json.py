"""Members of a space from what a JSON or YAML file can say."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.spaces.exact import TO_ANY_FLOAT, exact


def from_json(space: spaces.Space[Any], value: Any) -> Any:
    """A member of an action space from JSON values: lists become arrays, or tuples where the space is a Tuple."""
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        if value.keys() != space.spaces.keys():
            raise ValueError(f"keys {sorted(value)}: expected {sorted(space.spaces)}")
        return {key: from_json(part, value[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple) and isinstance(value, list | tuple):
        return tuple(from_json(part, item) for part, item in zip(space.spaces, value, strict=True))
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        # A fraction in a text is in decimal: the nearest one that the type has is meant.
        return exact("value", value, np.dtype(space.dtype), tuple(space.shape or ()), rounding=TO_ANY_FLOAT).values
    return value
