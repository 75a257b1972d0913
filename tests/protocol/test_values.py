"""Plain values as canonical bytes."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollgym.protocol.episode.values import ValueFormatError, pack_value, unpack_value
from tests.protocol.episodes import values

dtypes = st.sampled_from(["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8"])


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    size = math.prod(shape)
    numbers = draw(st.lists(st.integers(0, 100), min_size=size, max_size=size))
    return np.array(numbers, dtype=np.int64).reshape(shape).astype(draw(dtypes))


def _same(a: Any, b: Any) -> bool:
    """Equal, with types; NaN equals NaN."""
    if isinstance(a, list | tuple):
        return isinstance(b, list) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and sorted(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or (a != a and b != b))


@given(values)
def test_what_goes_in_comes_out_with_its_type(value: Any) -> None:
    packed = pack_value(value)
    assert _same(value, unpack_value(packed))
    assert pack_value(unpack_value(packed)) == packed


@given(arrays())
def test_arrays_keep_dtype_shape_and_bits(array: np.ndarray) -> None:
    back = unpack_value(pack_value({"a": array}))["a"]
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.shape == array.shape
    assert back.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_the_order_of_keys_does_not_matter() -> None:
    assert pack_value({"b": 1, "a": [1.0]}) == pack_value({"a": (1.0,), "b": 1})


def test_one_and_one_point_zero_and_true_are_different() -> None:
    assert len({pack_value(value) for value in (1, 1.0, True, "1", np.int64(1), np.float32(1))}) == 6


def test_enums_count_as_their_value() -> None:
    class Colour(enum.IntEnum):
        RED = 3

    assert pack_value(Colour.RED) == pack_value(3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), "type object"),
        ({1: 2}, "key 1: expected a string"),
        ({"a": {1, 2}}, "type set"),
        (2**64, "64-bit range"),
        (-(2**63) - 1, "64-bit range"),
        (np.array([object()]), "dtype object"),
        (1j, "type complex"),
    ],
)
def test_what_has_no_byte_form_is_named(value: Any, text: str) -> None:
    with pytest.raises(ValueFormatError, match=text):
        pack_value(value)


def test_endless_nesting_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueFormatError, match="nested more than"):
        pack_value(endless)


def _array(dtype: Any, shape: Any, data: bytes = b"\0" * 8) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(1, msgpack.packb([dtype, shape]) + data))
    return packed


@given(st.binary(max_size=64))
@example(_array(",", [1]))
@example(_array("(3,)f8", [1]))
@example(_array("f8,i4", [1]))
@example(_array("O", [1]))
@example(_array("V8", [1]))
@example(_array("f8", [2]))
@example(_array("f8", [-1]))
@example(_array("f8", [2**62, 4]))
@example(_array("f8", [0, 2**63], b""))
@example(_array("f8", [True]))
@example(_array("U2", [1]))
@example(_array("M8[s]", []))
@example(_array("f8", []))
@example(_array("f8", [], b"\0" * 16))
@example(_array("f8", [1], b"\0" * 7))
@example(_array(5, [1]))
@example(msgpack.packb(msgpack.ExtType(1, b"")))
@example(msgpack.packb(msgpack.ExtType(1, b"\xc1")))
@example(msgpack.packb(msgpack.ExtType(2, b"")))
@example(b"\xd6\xff\0\0\0\0")
@example(b"\xd6\xfe\0\0\0\0")
@example(b"\x91" * 2000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xa1\xff")
@example(b"\x81\x01\x02")
@example(b"")
@example(b"\x01\x02")
def test_arbitrary_bytes_are_a_value_or_a_format_error(data: bytes) -> None:
    try:
        unpack_value(data)
    except ValueFormatError as error:
        message = str(error)
    else:
        message = "a value"
    assert message


@given(value=values, data=st.data())
def test_damaged_values_are_a_value_or_a_format_error(value: Any, data: st.DataObject) -> None:
    packed = bytearray(pack_value([value, np.arange(3)]))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack_value(bytes(packed))
    except ValueFormatError as error:
        message = str(error)
    else:
        message = "a value"
    assert message


@pytest.mark.parametrize("text", ["\udce9", "caf\udce9.map", "\ud800\udc00", "\udc00\ud800é"])
def test_text_without_utf8_bytes_is_kept(text: str) -> None:
    value = {text: [text, {text: 1}], "plain": "text"}
    assert unpack_value(pack_value(value)) == value
    assert len({pack_value(text), pack_value(text.encode("utf-8", "surrogatepass")), pack_value(repr(text))}) == 3


def test_text_has_one_form() -> None:
    with pytest.raises(ValueFormatError, match="expected a string"):
        unpack_value(msgpack.packb(msgpack.ExtType(2, b"plain")))
    with pytest.raises(ValueFormatError):
        unpack_value(msgpack.packb(msgpack.ExtType(2, b"\xff")))


def test_records_have_no_form() -> None:
    with pytest.raises(ValueFormatError, match="expected plain numbers"):
        pack_value(np.zeros(2, [("a", "i4"), ("b", "f8")]))
