"""Plain values (infos, settings) as canonical bytes: equal values give equal bytes, types are kept.

MessagePack with sorted string keys; numpy arrays and scalars travel as extension type 1 so that their dtype
survives. Integers stay integers and floats stay floats. Text that has no UTF-8 bytes, because it holds half of a
surrogate pair (file names that were no text come so from ``os.fsdecode``), is extension type 2: the same bytes, with
every half encoded like any other character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from rollgym.protocol.column_names import is_writable

_NDARRAY = 1
_TEXT = 2
_MAX_DEPTH = 32
_DTYPE = re.compile(r"[<>|][biufcSUVmM][0-9]{1,9}(\[[0-9]{0,9}[A-Za-zμ]{1,8}\])?")


class ValueFormatError(ValueError):
    """A value that has no byte form, or bytes that are not a value."""


def pack_value(value: Any) -> bytes:
    """The canonical bytes of a value.

    Takes None, bool, int (64 bits), float, str, bytes, numpy scalars and arrays, and lists, tuples and
    string-keyed mappings of them. Raises :class:`ValueFormatError` naming the type of anything else.
    """
    try:
        packed: bytes = msgpack.packb(_plain(value, 0), use_bin_type=True)
    except OverflowError as error:
        raise ValueFormatError(f"integer out of the 64-bit range: {error}") from error
    return packed


def _plain(value: Any, depth: int) -> Any:
    if value is None or type(value) in (bool, int, float, bytes):
        return value
    if type(value) is str:
        return _text(value)
    if depth > _MAX_DEPTH:
        raise ValueFormatError(f"nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueFormatError(f"key {key!r}: expected a string")
        return {_text(key): _plain(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject or array.dtype.names is not None or array.dtype.subdtype is not None:
            raise ValueFormatError(f"array of dtype {array.dtype}: expected plain numbers")
        array = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        head = msgpack.packb([array.dtype.str, list(np.shape(value))])
        return msgpack.ExtType(_NDARRAY, head + array.tobytes())
    for kind in (int, float):  # enums and other subclasses
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        return _text(str.__str__(value))
    raise ValueFormatError(f"value of type {type(value).__name__}: expected plain data")


def _text(text: str) -> str | msgpack.ExtType:
    if text.isascii() or is_writable(text):
        return text
    return msgpack.ExtType(_TEXT, text.encode("utf-8", "surrogatepass"))


def unpack_value(data: bytes) -> Any:
    """The value of :func:`pack_value`'s bytes (arrays come back as arrays, tuples as lists).

    Raises :class:`ValueFormatError` and nothing else, whatever the bytes.
    """
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_extension)
    except ValueFormatError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ValueFormatError(f"not a packed value: {error}") from error


def _extension(code: int, data: bytes) -> Any:
    if code == _TEXT:
        text = data.decode("utf-8", "surrogatepass")
        if is_writable(text):
            raise ValueFormatError("text of extension type 2 that has UTF-8 bytes: expected a string")
        return text
    if code != _NDARRAY:
        raise ValueFormatError(f"extension type {code}: expected {_NDARRAY} or {_TEXT}")
    return _array(data)


def _array(data: bytes) -> Any:
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    head = unpacker.unpack()
    if not isinstance(head, list) or len(head) != 2 or not isinstance(head[0], str) or not isinstance(head[1], list):
        raise ValueFormatError("array without dtype and shape")
    if _DTYPE.fullmatch(head[0]) is None:  # numpy would parse a whole little language
        raise ValueFormatError(f"array dtype {head[0][:32]!r}: expected a plain one such as '<f8'")
    try:
        dtype = np.dtype(head[0])
    except (TypeError, ValueError) as error:
        raise ValueFormatError(f"array dtype {head[0]!r}: {error}") from error
    if dtype.hasobject or not all(isinstance(n, int) and n >= 0 for n in head[1]):
        raise ValueFormatError(f"array dtype {head[0]!r}, shape {head[1]!r}: expected plain numbers")
    array = np.frombuffer(data[unpacker.tell() :], dtype=dtype)
    if head[1]:
        return array.reshape(head[1])
    if array.size != 1:
        raise ValueFormatError("scalar with other than one item")
    return array[0]
