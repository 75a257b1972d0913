"""Actions as bytes of a fixed width, so that one form serves the wire, the rollback core and the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.errors import GameError
from rollgym.games.spaces.described import children, leaves
from rollgym.games.spaces.exact import TO_FLOAT32, exact


class CodecError(ValueError):
    """An action, or its bytes, that does not belong to the action space."""


class Codec(Protocol):
    """Turns the members of one action space into bytes and back.

    ``decode(encode(a)) == a`` for every member; both raise :class:`CodecError` for anything else.
    """

    width: int
    """Bytes of every encoded action; at least 1."""

    def encode(self, action: Any) -> bytes:
        """The :attr:`width` bytes of a member: equal members give equal bytes. The action is neither kept nor changed.

        The same numbers in another type (a list for an array, numpy's integers for Python's) are taken as well.
        """

    def decode(self, data: bytes) -> Any:
        """The member that some bytes stand for, in the type and shape of its space. Arrays are fresh: they may be kept
        and changed."""


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


class MultiDiscreteCodec:
    """``MultiDiscrete`` as its elements in C order, each coded as a ``Discrete`` of its own."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        counts, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        self._parts = [DiscreteCodec(spaces.Discrete(n, start=s)) for n, s in zip(counts, starts, strict=True)]
        self._dtype, self._shape = np.dtype(space.dtype), tuple(space.shape)
        self.width = sum(part.width for part in self._parts)

    def encode(self, action: Any) -> bytes:
        values = _array(action, self._dtype, self._shape).ravel().tolist()
        return b"".join([part.encode(value) for part, value in zip(self._parts, values, strict=True)])

    def decode(self, data: bytes) -> NDArray[Any]:
        values = [part.decode(piece) for part, piece in _split(self._parts, data, self.width)]
        return np.array(values, dtype=self._dtype).reshape(self._shape)


class MultiBinaryCodec:
    """``MultiBinary`` as one bit per element in C order, from the lowest bit of the first byte; unused bits are 0."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        self._dtype, self._shape = np.dtype(space.dtype), tuple(space.shape)
        self._count = int(np.prod(space.shape))
        self.width = (self._count + 7) // 8

    def encode(self, action: Any) -> bytes:
        bits = _array(action, self._dtype, self._shape).ravel()
        if ((bits != 0) & (bits != 1)).any():
            raise CodecError(f"action {bits.tolist()}: expected zeros and ones")
        return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()

    def decode(self, data: bytes) -> NDArray[Any]:
        if len(data) != self.width:
            raise CodecError(f"action of {len(data)} bytes: expected {self.width}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        if bits[self._count :].any():
            raise CodecError(f"action {data.hex()}: expected 0 in the {len(bits) - self._count} unused bits")
        return bits[: self._count].astype(np.int8).reshape(self._shape)


class BoxCodec:
    """``Box`` as its elements in C order, each little-endian in the space's own type. NaN is refused."""

    def __init__(self, space: spaces.Box) -> None:
        self._low, self._high = space.low, space.high
        self._dtype = np.dtype(space.dtype)
        self._wire = self._dtype.newbyteorder("<")
        self._shape = space.shape
        self.width = self._dtype.itemsize * int(np.prod(space.shape, dtype=np.int64))

    def encode(self, action: Any) -> bytes:
        array = _array(action, self._dtype, self._shape)
        self._check(array)
        return array.astype(self._wire).tobytes()

    def decode(self, data: bytes) -> NDArray[Any]:
        if len(data) != self.width:
            raise CodecError(f"action of {len(data)} bytes: expected {self.width}")
        if self._dtype.kind == "b" and data.strip(b"\x00\x01"):
            raise CodecError(f"action {data.hex()}: expected bytes 00 and 01")
        # A copy: the caller may change what it gets, and the bytes need not be aligned.
        array = np.frombuffer(data, self._wire).astype(self._dtype).reshape(self._shape)
        self._check(array)
        return array

    def _check(self, array: NDArray[Any]) -> None:
        # Written so that NaN, which compares false, is refused.
        if not ((array >= self._low) & (array <= self._high)).all():
            low, high = self._low.tolist(), self._high.tolist()
            raise CodecError(f"action {array.tolist()}: expected at least {low} and at most {high}")


class NestCodec:
    """``Dict`` and ``Tuple`` as their parts one after the other; a Dict's in the order of its sorted keys."""

    def __init__(self, space: spaces.Dict[Any] | spaces.Tuple[Any]) -> None:
        parts = children(space)
        self._named = isinstance(space, spaces.Dict)
        self._keys = [key for key, _ in parts]
        self._parts = [_codec_of(part) for _, part in parts]
        self.width = sum(part.width for part in self._parts)

    def encode(self, action: Any) -> bytes:
        if self._named:
            if not isinstance(action, dict) or action.keys() != set(self._keys):
                raise CodecError(f"action {action!r}: expected a dict with the keys {', '.join(self._keys)}")
            values = [action[key] for key in self._keys]
        elif isinstance(action, tuple | list) and len(action) == len(self._parts):
            values = list(action)
        else:
            raise CodecError(f"action {action!r}: expected a tuple of {len(self._parts)}")
        pieces = []
        for key, part, value in zip(self._keys, self._parts, values, strict=True):
            try:
                pieces.append(part.encode(value))
            except CodecError as error:
                raise CodecError(f"{key}: {error}") from error
        return b"".join(pieces)

    def decode(self, data: bytes) -> Any:
        values = []
        for key, (part, piece) in zip(self._keys, _split(self._parts, data, self.width), strict=True):
            try:
                values.append(part.decode(piece))
            except CodecError as error:
                raise CodecError(f"{key}: {error}") from error
        return dict(zip(self._keys, values, strict=True)) if self._named else tuple(values)


_C = TypeVar("_C", bound=Codec)


def _split(parts: Sequence[_C], data: bytes, width: int) -> Iterator[tuple[_C, bytes]]:
    if len(data) != width:
        raise CodecError(f"action of {len(data)} bytes: expected {width}")
    at = 0
    for part in parts:
        yield part, data[at : at + part.width]
        at += part.width


def _array(action: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The action as an array of the space's shape and type. No number changes; but that a float64 may be rounded."""
    if type(action) is np.ndarray and action.dtype == dtype and action.shape == shape:
        return action
    try:
        return exact("action", action, dtype, shape, rounding=TO_FLOAT32).values
    except GameError as error:
        raise CodecError(str(error)) from error


def _codec_of(space: spaces.Space[Any]) -> Codec:
    if isinstance(space, spaces.Discrete):
        return DiscreteCodec(space)
    if isinstance(space, spaces.MultiDiscrete):
        return MultiDiscreteCodec(space)
    if isinstance(space, spaces.MultiBinary):
        return MultiBinaryCodec(space)
    if isinstance(space, spaces.Box):
        return BoxCodec(space)
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return NestCodec(space)
    supported = "Discrete, MultiDiscrete, MultiBinary, Box, Dict and Tuple"
    raise CodecError(f"action space {space}: no byte form; supported are {supported} spaces")


def codec_for(space: spaces.Space[Any]) -> Codec:
    """The codec of an action space. Raises :class:`CodecError` if the space has none, or no action at all."""
    try:
        codec = _codec_of(space)
        leaves(space)  # whose types are those that every machine has
    except GameError as error:
        raise CodecError(f"action space {space}: {error}") from error
    if codec.width == 0:
        raise CodecError(f"action space {space}: its actions are empty")
    return codec
