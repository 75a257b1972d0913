"""What is recorded equals what the environment returned, or it is an error that says where."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.contract import Outcome
from rollgym.games.errors import GameError
from rollgym.games.record.columns import CanonicalBuilder
from rollgym.games.spaces.exact import exact
from rollgym.games.spaces.observation_casts import blank
from rollgym.protocol.episode.export import INPUT_REAL
from tests.games.space_strategies import any_spaces

NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 127, 128, 255, 256, -128, -129, 2**24 + 1, 2**31, 2**32, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64, -(2**63) - 1),
    *(0.5, -0.0, 0.1, 3.0, -7.0, 255.0, 1e-50, 3.5e38, 1e39, 65520.0, 2.0**63, math.nan, math.inf, -math.inf),
    *(True, False),
]  # fmt: skip
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-300, 300), st.floats(width=32), st.floats())
BOOL: Any = np.bool_
DTYPES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8")


@st.composite
def leaf_values(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Numbers in nested lists, or in an array of some type, or plain."""
    size = math.prod(shape)
    found = [draw(numbers) for _ in range(size)]
    form = draw(st.sampled_from(["list", "list", *DTYPES]))
    if form == "list":
        flat = np.empty(size, object)
        flat[:] = found
        return flat.reshape(shape).tolist()
    with np.errstate(all="ignore"):
        array = np.zeros(size, form)
        for index, number in enumerate(found):
            try:
                array[index] = number
            except (OverflowError, ValueError):
                array[index] = index % 2
    return array.reshape(shape)


@st.composite
def values_for(draw: st.DrawFn, space: spaces.Space[Any]) -> Any:
    """A value of the space's structure, with any numbers in it."""
    if isinstance(space, spaces.Dict):
        return {key: draw(values_for(part)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(draw(values_for(part)) for part in space.spaces)
    if isinstance(space, spaces.Discrete):
        return draw(st.one_of(numbers, st.integers(-5, 5).map(np.int8), st.integers(0, 5).map(np.uint64)))
    return draw(leaf_values(space.shape or ()))


def pairs(returned: Any, stored: Any) -> list[tuple[Any, Any]]:
    """Every number that was returned, as Python has it, beside the one that is stored in its place."""
    if isinstance(stored, dict):
        return [pair for key in stored for pair in pairs(returned[key], stored[key])]
    if isinstance(stored, tuple):
        return [pair for one, other in zip(returned, stored, strict=True) for pair in pairs(one, other)]
    if isinstance(returned, list):
        flat = np.empty(np.shape(stored), object)
        for at in np.ndindex(flat.shape):
            part: Any = returned
            for index in at:
                part = part[index]
            flat[at] = part
        found = flat.ravel().tolist()
    else:
        found = np.asarray(returned).ravel().tolist() if isinstance(returned, np.ndarray | np.generic) else [returned]
    return list(zip(found, np.asarray(stored).ravel().tolist(), strict=True))


def equal(one: Any, other: Any) -> bool:
    """Python compares integers and floats exactly."""
    return bool(one == other or (one != one and other != other))


class Telling(gymnasium.Env[Any, Any]):
    """Shows what it is told to show, in its only step."""

    def __init__(self, space: spaces.Space[Any], shown: Any, reward: Any = 0.0, ends: Any = False) -> None:
        self.action_space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(2)})
        self.observation_space = spaces.Dict({"a": space, "b": spaces.Discrete(2)})
        self.given: Any = ({"a": shown, "b": 0}, {"a": reward, "b": 0.0}, {"a": ends, "b": False}, False, {})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return {"a": blank(self.observation_space["a"]), "b": 1}, {}  # type: ignore[index]

    def step(self, action: Any) -> Any:
        return self.given


def game_of(env: Any) -> AdaptedGame:
    return AdaptedGame(env, game_id="telling", version="1")


def played(game: AdaptedGame) -> tuple[Outcome | None, str]:
    """What a step gives, or the place that it names."""
    try:
        return game.step((b"\0", b"\0")), ""
    except GameError as error:
        return None, error.field


@given(st.data())
def test_what_is_recorded_is_what_was_returned_or_an_error(data: st.DataObject) -> None:
    space = data.draw(any_spaces)
    shown = data.draw(values_for(space))
    game = game_of(Telling(space, shown))
    builder = CanonicalBuilder(game.spec)
    builder.start(game.reset(1), game.observe(), 0)
    outcome, refused = played(game)
    if outcome is None:
        assert refused.startswith("observation of a")
        return
    builder.append((b"\0", b"\0"), (INPUT_REAL, INPUT_REAL), outcome, game.observe(), 0)
    columns = builder.build().columns
    stored: list[Any] = []
    for name in sorted(n for n in columns if n.split("/")[:2] == ["observations", "a"]):
        stored += columns[name].array()[1].ravel().tolist()
    compared = pairs(shown, game.observe()[0])
    assert len(compared) == len(stored)
    # The columns are in the order of their names, the numbers are the same in any. -0.0 + 0.0 is 0.0.
    assert sorted(repr(float(kept) + 0.0) for _, kept in compared) == sorted(repr(float(n) + 0.0) for n in stored)
    changed = [pair for pair in compared if not equal(*pair)]
    assert bool(changed) == bool(game.rounded)
    for returned, kept in changed:
        assert isinstance(returned, float)
        assert kept == float(np.float32(returned))
        assert math.isfinite(kept) == math.isfinite(returned)


@given(st.data(), st.sampled_from(DTYPES[:12]), st.lists(st.integers(1, 3), max_size=2).map(tuple))
def test_numbers_stay_or_are_refused_without_rounding(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    value = data.draw(leaf_values(shape))
    fits = [_fits(number, np.dtype(dtype)) for number, _ in pairs(value, np.zeros(shape))]
    try:
        made = exact("it", value, np.dtype(dtype), shape)
    except GameError:
        assert not all(fits)
        return
    assert all(fits)
    assert made.values.dtype == np.dtype(dtype)
    assert not made.rounded
    assert all(equal(*pair) for pair in pairs(value, made.values))


def _fits(number: Any, dtype: np.dtype[Any]) -> bool:
    """The other way round: is there a number of the type that equals this one."""
    if dtype.kind == "b":
        return bool(number in (0, 1))
    if dtype.kind in "iu":
        whole = number == number and abs(number) != math.inf and int(number) == number
        return bool(whole and np.iinfo(dtype).min <= int(number) <= np.iinfo(dtype).max)
    try:
        with np.errstate(over="ignore"):
            return equal(float(dtype.type(float(number))), number)
    except OverflowError:
        return False


@pytest.mark.parametrize(
    ("space", "shown", "said"),
    [
        (spaces.Box(0, 10, (2, 2), np.uint8), np.array([[0, 1], [-1, 2]]), "observation of a[1, 0] = -1: .*uint8"),
        (spaces.Box(0, 10, (2,), np.uint8), [3, 300], r"observation of a\[1\] = 300: .*uint8"),
        (spaces.Box(-9, 9, (1,), np.float32), np.array([1e39]), r"observation of a\[0\] = 1e\+39: .*float32"),
        (spaces.Box(-9, 9, (1,), np.int32), np.array([0.5]), r"observation of a\[0\] = 0.5: .*int32"),
        (spaces.Dict({"x": spaces.Tuple([spaces.MultiBinary(1)])}), {"x": ([200],)}, r"a\['x'\]\[0\]\[0\] = 200"),
        (spaces.Discrete(3), 2**63, "observation of a = 9223372036854775808: .*int64"),
        (spaces.Discrete(3), 1.0, "observation of a = 'a float'"),
        (spaces.Box(0, 1, (2,), np.float64), [2**53 + 1, 0.5], r"observation of a\[0\] = 9007199254740993: .*float64"),
        (spaces.Box(0, 1, (1,), BOOL), [2], r"observation of a\[0\] = 2: .*bool"),
        (spaces.Box(0, 1, (1,), np.float32), np.ma.array([1.0], mask=[True]), "an array with masked"),
    ],
)  # fmt: skip
def test_the_error_names_agent_path_value_and_type(space: spaces.Space[Any], shown: Any, said: str) -> None:
    game = game_of(Telling(space, shown))
    game.reset(1)
    with pytest.raises(GameError, match=said.replace("a[1, 0]", r"a\[1, 0\]")):
        game.step((b"\0", b"\0"))


@given(st.one_of(numbers, numbers.map(lambda n: np.array([n])), st.sampled_from([None, "1", [1.0], {}, 1j])))
def test_rewards_are_what_was_returned_or_an_error(reward: Any) -> None:
    game = game_of(Telling(spaces.Discrete(2), 0, reward))
    game.reset(1)
    number = reward.item() if isinstance(reward, np.ndarray) else reward
    fits = isinstance(number, int | float) and _fits(number, np.dtype(np.float64))
    outcome, refused = played(game)
    if outcome is None:
        assert refused.startswith("reward of a")
        assert not fits
        return
    found = outcome.rewards[0]
    assert fits
    assert type(found) is float
    assert equal(found, number)


@pytest.mark.parametrize("flag", [True, np.True_, 1, 1.0, np.array(True), np.array([1]), np.int8(1)])
def test_ends_of_any_type_are_read(flag: Any) -> None:
    game = game_of(Telling(spaces.Discrete(2), 0, 0.0, flag))
    game.reset(1)
    assert game.step((b"\0", b"\0")).terminated == (True, False)


@pytest.mark.parametrize("flag", [None, 2, -1, 0.5, "yes", np.array([True, True]), [], math.nan])
def test_an_end_that_is_neither_is_an_error(flag: Any) -> None:
    game = game_of(Telling(spaces.Discrete(2), 0, 0.0, flag))
    game.reset(1)
    with pytest.raises(GameError, match="termination of a"):
        game.step((b"\0", b"\0"))


def test_rounding_to_the_float32_that_the_space_says_is_told_once() -> None:
    box = spaces.Box(-9, 9, (1,), np.float32)
    game = game_of(Telling(spaces.Dict({"x": box, "y": box}), {"x": np.array([0.1]), "y": np.array([0.5])}))
    game.reset(1)
    game.step((b"\0", b"\0"))
    assert game.rounded == {"observation of a['x']"}
    assert game.observe()[0]["x"] == np.float32(0.1)
