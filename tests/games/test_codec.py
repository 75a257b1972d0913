"""Actions as bytes: every member of a space survives the way there and back, and nothing else gets through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.spaces.codec import CodecError, codec_for
from tests.games.space_strategies import any_spaces, equal

NEST = spaces.Dict(
    {
        "move": spaces.MultiDiscrete([3, 300], start=[-1, 0]),
        "buttons": spaces.MultiBinary(10),
        "aim": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(5, start=2))),
    }
)


@given(any_spaces, st.integers(0, 10**6))
def test_every_action_survives_the_way_there_and_back(space: spaces.Space[Any], seed: int) -> None:
    codec = codec_for(space)
    action = sampler(space)(Draws(seed, 0, 0, 0))
    data = codec.encode(action)
    assert len(data) == codec.width
    decoded = codec.decode(data)
    assert equal(decoded, action)
    assert space.contains(decoded)
    assert codec.encode(decoded) == data


@given(any_spaces, st.data())
def test_arbitrary_bytes_give_a_member_with_those_bytes_or_an_error(
    space: spaces.Space[Any], data: st.DataObject
) -> None:
    codec = codec_for(space)
    raw = data.draw(st.one_of(st.binary(max_size=40), st.binary(min_size=codec.width, max_size=codec.width)))
    try:
        action = codec.decode(raw)
    except CodecError:
        return
    assert space.contains(action)
    assert codec.encode(action) == raw


@given(any_spaces, any_spaces, st.integers(0, 1000))
def test_what_is_no_member_is_refused(space: spaces.Space[Any], other: spaces.Space[Any], seed: int) -> None:
    foreign = sampler(other)(Draws(seed, 0, 0, 0))
    codec = codec_for(space)
    try:
        data = codec.encode(foreign)
    except CodecError:
        return
    # A list is as good as an array, an int8 as an int64: but the value is a member, and none other than it was.
    decoded = codec.decode(data)
    assert space.contains(decoded)
    assert np.array_equal(numbers(decoded), numbers(foreign))


def numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [n for key in sorted(value) for n in numbers(value[key])]
    if isinstance(value, tuple | list):
        return [n for part in value for n in numbers(part)]
    flat: list[Any] = np.asarray(value).ravel().tolist()
    return flat


def test_the_byte_form_is_as_documented() -> None:
    assert codec_for(spaces.Discrete(256)).encode(255) == b"\xff"
    assert codec_for(spaces.Discrete(257)).encode(256) == b"\x00\x01"
    assert codec_for(spaces.MultiBinary(10)).encode(np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])) == b"\x01\x02"
    assert codec_for(spaces.Box(-9, 9, (2,), np.int16)).encode(np.array([1, -2], np.int16)) == b"\x01\x00\xfe\xff"
    action = {
        "buttons": np.ones(10, np.int8),
        "move": np.array([-1, 299]),
        "aim": (np.array([0.0, 1.0], np.float32), 2),
    }
    codec = codec_for(NEST)
    assert codec.width == 9 + 2 + 3
    assert codec.encode(action) == bytes.fromhex("00000000 0000803f 00 ff03 00 2b01")
    assert equal(codec.decode(codec.encode(action)), action)


def test_decoded_arrays_belong_to_the_caller() -> None:
    codec = codec_for(spaces.Box(-1, 1, (2,), np.float32))
    data = codec.encode(np.zeros(2, np.float32))
    action = codec.decode(data)
    action[:] = 1
    assert codec.decode(data).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("space", "action", "text"),
    [
        (spaces.Discrete(3), 3, r"action 3: expected 0\.\.2"),
        (spaces.Discrete(3), True, "expected an integer"),
        (spaces.Discrete(3), np.array([1]), "expected one integer"),
        (spaces.MultiDiscrete([3, 3]), [1, 3], r"action 3: expected 0\.\.2"),
        (spaces.MultiDiscrete([3, 3]), [1], r"action = 'int64\[1\]': expected int64\[2\]"),
        (spaces.MultiDiscrete([3, 3]), [1, 1.5], r"action\[1\] = 1\.5: expected a number that int64 holds exactly"),
        (spaces.MultiBinary(3), [0, 2, 1], "expected zeros and ones"),
        (spaces.Box(-1, 1, (1,), np.float32), np.array([np.nan], np.float32), r"action \[nan\]: expected at least"),
        (spaces.Box(-1, 1, (1,), np.float32), np.array([1.5], np.float32), "at most"),
        (
            spaces.Box(-1, 1, (1,), np.float32),
            np.array([1e300]),
            r"1e\+300: expected a number that float32",
        ),
        (spaces.Box(-1, 1, (1,), np.float16), np.array([0.1]), "a number that float16 holds exactly"),
        (spaces.Box(0, 255, (1,), np.uint8), [-1], r"action\[0\] = -1: expected a number that uint8 holds exactly"),
        (NEST, {"move": [0, 0], "buttons": [0] * 10}, "expected a dict with the keys aim, buttons, move"),
        (NEST["aim"], (np.zeros(2, np.float32), 9), r"1: action 9: expected 2\.\.6"),
        (NEST["aim"], 3, "expected a tuple of 2"),
    ],
)
def test_refusals_say_what_was_expected(space: spaces.Space[Any], action: Any, text: str) -> None:
    with pytest.raises(CodecError, match=text):
        codec_for(space).encode(action)


@pytest.mark.parametrize(
    ("space", "data", "text"),
    [
        (spaces.Discrete(3), b"\x03", r"action 3: expected 0\.\.2"),
        (spaces.Discrete(3), b"", "action of 0 bytes: expected 1"),
        (spaces.MultiBinary(3), b"\x08", "expected 0 in the 5 unused bits"),
        (spaces.MultiBinary(3), b"\x00\x00", "2 bytes: expected 1"),
        (spaces.Box(0, 1, (2,), np.bool_), b"\x00\x02", "bytes 00 and 01"),  # type: ignore[arg-type]
        (spaces.Box(-1, 1, (1,), np.float32), bytes.fromhex("0000c07f"), "nan"),
        (spaces.Box(0, 5, (1,), np.uint8), b"\x06", "at most"),
        (NEST, bytes(13), "13 bytes: expected 14"),
        (NEST, bytes(9) + b"\x00\x04" + bytes(3), "buttons: action 0004"),
    ],
)
def test_bad_bytes_are_refused(space: spaces.Space[Any], data: bytes, text: str) -> None:
    with pytest.raises(CodecError, match=text):
        codec_for(space).decode(data)


@pytest.mark.parametrize("space", [spaces.Text(4), spaces.Dict(a=spaces.Sequence(spaces.Discrete(2))), spaces.Dict({})])
def test_spaces_without_a_byte_form_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(CodecError, match="action space"):
        codec_for(space)


@pytest.mark.parametrize(
    ("space", "action", "same"),
    [
        (spaces.Box(-1, 1, (2,), np.float32), [0.1, 1], np.array([0.1, 1], np.float32)),
        (spaces.Box(-1, 1, (2,), np.float32), np.array([0.1, -0.5]), np.array([0.1, -0.5], np.float32)),
        (spaces.Box(-1, 1, (2,), np.float32), np.array([1, 0]), np.array([1, 0], np.float32)),
        (spaces.Box(0, 255, (1,), np.uint8), np.array([3.0]), np.array([3], np.uint8)),
        (spaces.MultiDiscrete([3, 4]), np.array([1.0, 2.0]), np.array([1, 2])),
        (spaces.MultiBinary(2), [True, False], np.array([1, 0], np.int8)),
    ],
)
def test_numbers_of_another_type_are_taken_if_they_stay_the_same(space: Any, action: Any, same: Any) -> None:
    """As in observations: but for a float64, which is rounded where the space says float32."""
    codec = codec_for(space)
    assert codec.encode(action) == codec.encode(same)
    assert np.array_equal(codec.decode(codec.encode(action)), same)
