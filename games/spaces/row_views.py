"""Observations that are views of one flat row.

A small integer game is seen twice a frame by every peer. One array with a view per key costs a third of an array per
key to make, and as a record it is one row of a table instead of a dict of arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.errors import GameError
from rollgym.games.spaces.described import leaves


class RowObservation(dict[str, NDArray[Any]]):
    """A dict of one-axis arrays, each a view of a part of ``row``. What comes out of a copy or pickle is a plain dict.

    Whoever changes an array changes the row; an entry that is replaced does not change it.
    """

    __slots__ = ("row",)
    row: NDArray[Any]

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class RowLayout:
    """Where the keys of a flat Dict space lie in a row: in sorted order, one after the other."""

    def __init__(self, space: spaces.Dict) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` unless all parts are of one axis and of one dtype."""
        parts = leaves(space)
        self.dtype = parts[0].dtype
        self.parts: list[tuple[str, slice]] = []
        self.width = 0
        for part in parts:
            if part.dtype != self.dtype or len(part.shape) != 1 or len(part.keys) != 1:
                raise GameError(f"space at {part.path!r}", part, f"one axis of {self.dtype}")
            self.parts.append((part.keys[0], slice(self.width, self.width + part.shape[0])))
            self.width += part.shape[0]

    def observation(self, values: tuple[float, ...]) -> RowObservation:
        """The observation with these values: all those of the first key in sorted order, then of the second ..."""
        row = np.array(values, self.dtype)
        found = RowObservation()
        for key, part in self.parts:  # faster than handing the dict a list or a dict
            found[key] = row[part]
        found.row = row
        return found
