"""Actions as bytes of a fixed width, so that one form serves the wire, the rollback core and the record."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import spaces


class CodecError(ValueError):
    """An action, or its bytes, that does not belong to the action space."""


class Codec(Protocol):
    """Turns the members of one action space into bytes and back.

    ``decode(encode(a)) == a`` for every member; both raise :class:`CodecError` for anything else.
    """

    width: int

    def encode(self, action: Any) -> bytes: ...

    def decode(self, data: bytes) -> Any: ...


class DiscreteCodec:
    """``Discrete(n, start)`` as a little-endian unsigned integer of 1, 2, 4 or 8 bytes, counted from ``start``."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.n = int(space.n)
        self.start = int(space.start)
        self.width = next(w for w in (1, 2, 4, 8) if self.n <= 1 << (8 * w))

    def encode(self, action: Any) -> bytes:
        if isinstance(action, bool) or not isinstance(action, int | np.integer | np.ndarray):
            raise CodecError(f"action {action!r}: expected an integer of Discrete({self.n}, start={self.start})")
        if isinstance(action, np.ndarray) and (action.shape != () or not np.issubdtype(action.dtype, np.integer)):
            raise CodecError(f"action {action!r}: expected one integer of Discrete({self.n}, start={self.start})")
        index = int(action) - self.start
        if not 0 <= index < self.n:
            raise CodecError(f"action {int(action)}: expected {self.start}..{self.start + self.n - 1}")
        return index.to_bytes(self.width, "little")

    def decode(self, data: bytes) -> int:
        if len(data) != self.width:
            raise CodecError(f"action of {len(data)} bytes: expected {self.width}")
        index = int.from_bytes(data, "little")
        if index >= self.n:
            raise CodecError(f"action {index + self.start}: expected {self.start}..{self.start + self.n - 1}")
        return index + self.start


def codec_for(space: spaces.Space[Any]) -> Codec:
    """The codec of an action space. Raises :class:`CodecError` if the space has none."""
    if isinstance(space, spaces.Discrete):
        return DiscreteCodec(space)
    raise CodecError(f"action space {space}: no byte form; supported are Discrete spaces")
