"""Every action space is played: what a player does who does nothing is in it, so is what bots draw, and both are coded
exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import example, given
from hypothesis import strategies as st

from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.policies.nearest import nearest
from rollgym.games.spaces.codec import codec_for
from rollgym.games.spaces.from_json import from_json
from rollgym.games.spaces.observation_casts import idle_action
from tests.games.space_strategies import any_spaces, boxes, equal


@given(any_spaces, st.integers(0, 2**63 - 1))
def test_defaults_and_draws_are_members_and_coded_exactly(space: spaces.Space[Any], seed: int) -> None:
    codec, draw = codec_for(space), sampler(space)
    for action in (idle_action(space), *(draw(Draws(seed, 1, 0, moment)) for moment in range(5))):
        assert space.contains(action)
        coded = codec.encode(action)
        assert len(coded) == codec.width
        assert equal(codec.decode(coded), action)


@given(boxes())
@example(spaces.Box(np.finfo(np.float64).min, np.finfo(np.float64).max, (2,), np.float64))
def test_draws_differ_where_they_can(space: spaces.Box) -> None:
    draw = sampler(space)
    drawn = {draw(Draws(7, 1, 0, moment)).tobytes() for moment in range(40)}
    lows, highs = space.low.ravel().tolist(), space.high.ravel().tolist()
    # Above the largest number of a type there is only infinity, which is not drawn.
    most = {"f2": 65504.0, "f4": 3.4028234663852886e38, "f8": 1.7976931348623157e308}.get(space.dtype.str[1:])
    pinned = lows == highs or lows[0] == most
    assert pinned or len(drawn) > 1


@pytest.mark.parametrize(
    ("space", "value", "action"),
    [
        (spaces.Box(-1, 1, (2,), np.float16), [0.1, -1], np.array([0.1, -1], np.float16)),
        (spaces.Box(-1, 1, (1,), np.float32), [0.1], np.array([0.1], np.float32)),
        (spaces.Box(0, 2**64 - 1, (1,), np.uint64), [2**64 - 1], np.array([2**64 - 1], np.uint64)),
        (spaces.MultiBinary(2), [0, 1], np.array([0, 1], np.int8)),
    ],
)
def test_actions_of_a_script_are_those_that_are_meant(space: spaces.Space[Any], value: Any, action: Any) -> None:
    assert equal(from_json(space, value), action)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Box(0, 255, (1,), np.uint8), [300]),
        (spaces.Box(0, 255, (1,), np.uint8), [0.5]),
        (spaces.Box(0, 1, (1,), np.dtype("?").type), [0.5]),  # type: ignore[arg-type]
        (spaces.Box(-1, 1, (1,), np.float32), [1e39]),
        (spaces.MultiBinary(2), [0, 256]),
        (spaces.Box(-1, 1, (2,), np.float32), [0]),
    ],
)
def test_actions_of_a_script_that_the_type_does_not_hold_are_refused(space: spaces.Space[Any], value: Any) -> None:
    with pytest.raises(ValueError, match="value"):
        from_json(space, value)


@given(boxes(), st.lists(st.floats(allow_nan=False), min_size=27, max_size=27))
def test_what_a_network_puts_out_becomes_the_nearest_member(space: spaces.Box, values: list[float]) -> None:
    given_values = np.array(values[: int(np.prod(space.shape))])
    action = nearest(space, given_values)
    assert space.contains(action)
    assert codec_for(space).decode(codec_for(space).encode(action)).tolist() == action.tolist()
    if np.dtype(space.dtype).kind != "f":
        numbers = zip(
            action.ravel().tolist(), given_values.tolist(), space.low.ravel(), space.high.ravel(), strict=True
        )
        for found, wanted, low, high in numbers:
            if int(low) <= wanted <= int(high):
                assert abs(int(found) - Fraction(wanted)) <= Fraction(1, 2)
            else:
                assert int(found) == (int(low) if wanted < low else int(high))


@pytest.mark.parametrize("dtype", [np.complex64, np.longdouble, "S3", "M8[s]"])
def test_types_that_not_every_machine_has_are_refused(dtype: Any) -> None:
    space = spaces.Box(-1, 1, (1,), np.float32)
    space.dtype = np.dtype(dtype)
    with pytest.raises(ValueError, match="float16, float32, float64"):
        codec_for(space)
