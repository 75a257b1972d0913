"""Small objects of every form, for the tests of snapshots."""

from __future__ import annotations

import collections
import enum
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from rollgym.games.snapshot.object_graph import Copier


class Thing:
    """An object with whatever attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


class Slotted:
    __slots__ = ("__hidden", "other", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.__hidden = [1]

    def grow(self) -> None:
        self.__hidden.append(2)

    @property
    def hidden(self) -> list[int]:
        return self.__hidden


class Both(Slotted):
    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.extra = {"a": 1}


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def bytes_of(value: Any) -> bytes:
    copier = Copier(value)
    return copier.state_bytes(copier.save())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(lambda v: Thing(held=v), inner)
        | st.builds(lambda v: np.array([1.5, len(repr(v))]), inner)
    ),
    max_leaves=12,
)
