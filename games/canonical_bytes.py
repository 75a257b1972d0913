"""Plain values as canonical bytes, whatever the size of their integers: for digests, never to be read back."""

from __future__ import annotations

import array as array_module
import enum
from typing import Any

import msgpack
import numpy as np

from rollgym.games.errors import Unsafe

PRIMITIVES: tuple[type, ...] = (int, float, str, bool, bytes, type(None))
"""Written as they are."""


def array_bytes(values: Any) -> bytes:
    """Elements in C order, little-endian. The padding of records does not count."""
    if values.dtype.names:
        return b"".join([array_bytes(values[name]) for name in values.dtype.names])
    if values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("<"))
    data: bytes = values.tobytes()
    return data


def plain_bytes(value: Any) -> bytes:
    """Nested plain values, arrays and integers of any size as canonical bytes."""
    packed: bytes = msgpack.packb(_plain(value), unicode_errors="surrogatepass")
    return packed


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -(2**63) <= value < 2**64 else ["int", str(value)]
    if kind in PRIMITIVES:
        return value
    if isinstance(value, dict):
        return ["dict", *(_plain(part) for pair in value.items() for part in pair)]
    if isinstance(value, list | tuple):
        if len(value) > 64 and all([type(part) is int for part in value]) and max(value) < 2**63 > -min(value):
            return array_module.array("q", value).tobytes()
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(plain_bytes, value))]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return [array.dtype.str, *array.shape, *map(_plain, array.ravel().tolist())]
        return [array.dtype.str, *array.shape, array_bytes(array)]
    if isinstance(value, enum.Enum):
        return named(value)
    raise Unsafe("state", type_name(kind), "plain data: numbers, texts, bytes, arrays, nests")


def named(value: Any) -> Any:
    """Something that is the same everywhere, by its name: a class, a member of an enum."""
    return [type(value).__qualname__, getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or ""]


def type_name(kind: type) -> str:
    """Module and name of a class. Some that C libraries make have no module."""
    module = getattr(kind, "__module__", None)
    return f"{module}.{kind.__qualname__}" if isinstance(module, str) else kind.__qualname__
