"""Spaces as descriptions and as flat rows."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.errors import GameError
from rollgym.games.spaces.described import describe, flatten, flattener, leaves
from tests.games.space_strategies import any_spaces, equal

NEST = spaces.Dict(
    {
        "b": spaces.Tuple((spaces.Discrete(4, start=1), spaces.Box(0, 9, (2,), np.int16))),
        "a": spaces.MultiBinary(3),
        "c": spaces.Dict({"x": spaces.MultiDiscrete([3, 5]), "w": spaces.Box(-np.inf, np.inf, (2, 2), np.float32)}),
    }
)


def test_leaves_are_named_by_their_path_in_sorted_order() -> None:
    assert [(leaf.path, str(leaf.dtype), leaf.shape) for leaf in leaves(NEST)] == [
        ("a", "int8", (3,)),
        ("b/0", "int64", ()),
        ("b/1", "int16", (2,)),
        ("c/w", "float32", (2, 2)),
        ("c/x", "int64", (2,)),
    ]
    assert [leaf.path for leaf in leaves(spaces.Discrete(3))] == [""]


def test_the_order_of_keys_does_not_matter() -> None:
    one = spaces.Dict(OrderedDict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))]))
    two = spaces.Dict(OrderedDict([("a", spaces.Discrete(3)), ("b", spaces.Discrete(2))]))
    assert json.dumps(describe(one)) == json.dumps(describe(two))
    assert leaves(one) == leaves(two)
    assert flatten(one, {"b": 1, "a": 2}) == flatten(two, {"a": 2, "b": 1}) == (2, 1)


def test_descriptions() -> None:
    assert describe(spaces.Discrete(3, start=-1)) == {"type": "Discrete", "n": 3, "start": -1, "dtype": "int64"}
    assert describe(spaces.Box(-np.inf, 1.5, (2,), np.float32)) == {
        "type": "Box",
        "shape": [2],
        "dtype": "float32",
        "low": "-inf",
        "high": 1.5,
    }
    uneven = spaces.Box(np.array([0, 1], np.int8), np.array([5, 5], np.int8), dtype=np.int8)
    assert describe(uneven) == {"type": "Box", "shape": [2], "dtype": "int8", "low": [0, 1], "high": 5}
    assert describe(spaces.MultiBinary([2, 3])) == {"type": "MultiBinary", "shape": [2, 3], "dtype": "int8"}
    assert describe(spaces.MultiDiscrete([3, 4])) == {
        "type": "MultiDiscrete",
        "shape": [2],
        "dtype": "int64",
        "nvec": [3, 4],
        "start": 0,
    }
    assert list(describe(NEST)["spaces"]) == ["a", "b", "c"]


@given(any_spaces, any_spaces)
def test_descriptions_are_json_and_differ_when_spaces_do(one: spaces.Space[Any], two: spaces.Space[Any]) -> None:
    text = json.dumps(describe(one), allow_nan=False)
    assert json.loads(text) == describe(one)
    if one != two:
        assert describe(one) != describe(two)


def rebuild(space: spaces.Space[Any], values: list[Any]) -> Any:
    """The inverse of flatten, written without it."""
    if isinstance(space, spaces.Dict):
        return {key: rebuild(space.spaces[key], values) for key in sorted(space.spaces)}
    if isinstance(space, spaces.Tuple):
        return tuple(rebuild(part, values) for part in space.spaces)
    return values.pop(0)


@given(any_spaces, st.integers(0, 1000))
def test_flat_values_lose_nothing_and_fit_their_leaves(space: spaces.Space[Any], seed: int) -> None:
    value = sampler(space)(Draws(seed, 0, 0, 0))
    flat = flattener(space)(value)
    for leaf, part in zip(leaves(space), flat, strict=True):
        block = np.empty((1, *leaf.shape), leaf.dtype)
        block[0] = part
        assert np.array_equal(block[0], part)
    assert equal(rebuild(space, list(flat)), value)


def test_arrays_of_the_right_type_are_not_copied() -> None:
    array = np.zeros(3, np.int8)
    (flat,) = flatten(spaces.MultiBinary(3), array)
    assert flat is array


def test_narrower_types_and_plain_numbers_are_widened() -> None:
    box = spaces.Box(-9, 9, (2,), np.float64)
    for value in (np.array([1, 2], np.int16), np.array([1, 2], np.float32), [1, 2], (1.0, 2.0)):
        (flat,) = flatten(box, value)
        assert isinstance(flat, np.ndarray)
        assert flat.dtype == np.float64
        assert flat.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("space", "value", "text"),
    [
        (spaces.Discrete(3), 1.0, "value = 1.0: expected an integer"),
        (spaces.Discrete(3), True, "value = True: expected an integer"),
        (spaces.Discrete(3), 2**63, "64 bits"),
        (spaces.Box(0, 1, (2,), np.float32), np.zeros(2), r"shape \(2,\) of float32, or a type that fits"),
        (spaces.Box(0, 1, (2,), np.float32), [0.1, 0.5], "without rounding"),
        (spaces.Box(0, 9, (2,), np.int8), [1, 300], "without rounding"),
        (spaces.Box(-1e30, 1e30, (1,), np.float64), np.array([2**53 + 1]), "without rounding"),
        (spaces.Box(0, 9, (2,), np.int8), np.zeros(3, np.int8), r"array of shape \(3,\)"),
        (spaces.Box(0, 9, (2,), np.int8), "ab", "expected shape"),
        (spaces.Box(0, 9, (2,), np.int8), [[1], [1, 2]], "expected shape"),
        (spaces.Box(0, 9, (2,), np.int8), ["a", "b"], "expected shape"),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": 1}, "dict with b.*expected keys a"),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": 1, "b": 1}, "expected keys a"),
        (spaces.Dict(a=spaces.Discrete(2)), 3, "expected keys a"),
        (spaces.Tuple((spaces.Discrete(2),)), (1, 1), "expected a tuple of 1"),
        (spaces.Dict(a=spaces.Tuple((spaces.Discrete(2),))), {"a": ("x",)}, "value at 'a/0' = 'x'"),
    ],
)
def test_what_does_not_fit_is_refused_by_path(space: spaces.Space[Any], value: Any, text: str) -> None:
    with pytest.raises(GameError, match=text):
        flatten(space, value)


@pytest.mark.parametrize(
    "space", [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)), spaces.Graph(spaces.Discrete(2), None)]
)
def test_spaces_without_a_fixed_shape_are_refused(space: spaces.Space[Any]) -> None:
    nest = spaces.Dict(a=spaces.Tuple((space,)))
    with pytest.raises(GameError, match=r"space at 'a/0' = .*not supported"):
        leaves(nest)
    with pytest.raises(GameError, match="not supported"):
        describe(nest)
    with pytest.raises(GameError, match="not supported"):
        flattener(nest)


def test_keys_that_have_no_place_in_a_file_are_refused() -> None:
    for key in (3, "caf\udce9"):
        space: spaces.Dict = spaces.Dict({key: spaces.Discrete(2)})  # type: ignore[dict-item]
        with pytest.raises(GameError, match=r"space key = .*: expected a string"):
            leaves(space)
