"""Every info is recorded, or named as not recorded."""

from __future__ import annotations

import datetime
import enum
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.infos import plain_info, shared_out
from rollgym.games.errors import GameError
from rollgym.protocol.episode.values import pack_value, unpack_value
from tests.adapters.broken import Sound

KEYS = ("ada", 1)
NAMES = ("ada", "1")


class Tile(enum.Enum):
    GRASS = 1


class Level(enum.IntEnum):
    LOW = 1


class Color(str, enum.Enum):  # noqa: UP042 - what str() makes of it is the point
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float


def shares(info: Any) -> tuple[list[Any], set[str]]:
    unrecorded: set[str] = set()
    return shared_out(info, KEYS, NAMES, unrecorded), unrecorded


@pytest.mark.parametrize(
    ("info", "ada", "one"),
    [
        (None, None, None),
        ({}, None, None),
        ({"score": 3}, {"score": 3}, {"score": 3}),
        ({"ada": 2.0, 1: -2.0}, {"value": 2.0}, {"value": -2.0}),
        ({"ada": {"x": 1}, "t": 4}, {"t": 4, "x": 1}, {"t": 4}),
        ({"ada": None, 1: {}, "t": 4}, {"t": 4}, {"t": 4}),
        ({"ada": [1, 2], "t": 4}, {"t": 4, "value": [1, 2]}, {"t": 4}),
        ({"rewards": {"goal": 1.0}}, {"rewards": {"goal": 1.0}}, {"rewards": {"goal": 1.0}}),
        ([{"s": 1}, {"s": 2}], {"s": 1}, {"s": 2}),
        ([{"s": 1}, None], {"s": 1}, None),
        (({"s": 1},), {"value": ({"s": 1},)}, {"value": ({"s": 1},)}),
        ([1, 2], {"value": [1, 2]}, {"value": [1, 2]}),
        (0, {"value": 0}, {"value": 0}),
        ("text", {"value": "text"}, {"value": "text"}),
    ],
)
def test_infos_are_shared_out(info: Any, ada: Any, one: Any) -> None:
    assert shares(info) == ([ada, one], set())


class Scored(Sound):
    """Rewards and an info of the same name."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form = form

    def step(self, action: Any) -> Any:
        seen, _, *rest, _ = super().step(action)
        return seen, 0.5, *rest, {"rewards": self.form}


def test_components_of_a_reward_are_an_info() -> None:
    forms: list[Any] = [
        {"goal": 1.0, "time": -0.1},
        [1.0, 2.0],
        3.0,
        {"left": 1.0},
        {"left": 1.0, "right": 2.0, "x": 3.0},
    ]
    for form in forms:
        game = AdaptedGame(Scored(form), game_id="scored", version="1")
        game.reset(1)
        outcome = game.step((b"\0", b"\0"))
        assert outcome.rewards == (0.5, 0.5)
        assert outcome.infos[0] == {"rewards": form}
    game = AdaptedGame(Scored({"left": 1.0, "right": 2.0}), game_id="scored", version="1")
    game.reset(1)
    outcome = game.step((b"\0", b"\0"))
    assert (outcome.rewards, outcome.infos) == ((1.0, 2.0), ({}, {}))


def test_what_an_agents_own_hides_is_named() -> None:
    (ada, one), unrecorded = shares({"t": 4, "ada": {"t": 5}})
    assert (ada, one) == ({"t": 5}, {"t": 4})
    assert unrecorded == {"t of everybody (for ada, who has its own)"}


def test_numpys_numbers_keep_their_type_and_other_classes_become_plain() -> None:
    unrecorded: set[str] = set()
    given: dict[str, Any] = {
        "f16": np.float16(0.1), "u8": np.uint8(200), "flag": np.bool_(True), "text": np.str_("x"),
        "day": np.datetime64("2026-03-01"), "level": Level.LOW, "color": Color.RED, "point": Point(1, 2.0),
        "nest": {"a": {"b": np.int8(3)}}, "array": np.arange(3, dtype=">i4"), "most": 2**63 - 1,
        "double": np.float64(0.5), "zero": np.array(3),
    }  # fmt: skip
    found = plain_info(given, unrecorded)
    assert not unrecorded
    back = {key: unpack_value(pack_value(value)) for key, value in found.items()}
    types = {key: type(value) for key, value in back.items()}
    assert types["f16"] is np.float16
    assert types["u8"] is np.uint8
    assert types["flag"] is np.bool_
    assert types["double"] is np.float64
    assert (back["level"], type(found["level"])) == (1, int)
    assert (back["color"], type(found["color"])) == ("red", str)
    assert back["point"] == [1, 2.0]
    assert back["nest"]["a"]["b"].dtype == np.int8
    assert back["array"].tolist() == [0, 1, 2]
    assert back["day"] == np.datetime64("2026-03-01")


class Grid:
    pass


def loop() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tile", Tile.GRASS, "tile (Tile)"),
        ("when", datetime.date(2026, 3, 1), "when (date)"),
        ("set", {1, 3}, "set (set)"),
        ("big", 2**80, "big (int of more than 64 bits)"),
        ("big", 2**63, "big (int of more than 64 bits)"),
        ("inside", [1, {"x": 2**80}], "inside (int of more than 64 bits)"),
        ("c", 1j, "c (complex)"),
        ("objects", np.array([1, None], object), "objects (of dtype object)"),
        ("record", np.zeros(2, [("a", "i4")]), "record (of dtype [('a', '<i4')])"),
        ("masked", np.ma.array([1, 2], mask=[False, True]), "masked (a masked array)"),
        ("long", np.longdouble(1) / 3, f"long (of dtype {np.dtype(np.longdouble)})"),
        ("object", Grid(), "object (Grid)"),
        ("loop", loop(), "loop (nested more than 30 deep)"),
        ("nest", {"a": {3: "x"}}, "nest (has the key 3, which is no text)"),
        ("nest", {"\ud800": 1}, r"nest (has the key '\ud800', which is no text)"),
        (7, "seven", "7 (the key is of type int, not text)"),
        ("\ud800", 1, r"'\ud800' (a key of more than 256 characters, or no Unicode text)"),
        ("k" * 257, 1, f"'{'k' * 40}' (a key of more than 256 characters, or no Unicode text)"),
        ("large", [0] * 1_100_000, "large (a list too large for a structure: arrays may be)"),
    ],
)
def test_what_cannot_be_recorded_is_named(key: Any, value: Any, said: str) -> None:
    unrecorded: set[str] = set()
    assert plain_info({key: value, "kept": 1}, unrecorded) == {"kept": 1}
    assert unrecorded == {said}


def test_more_keys_than_a_file_takes_are_an_error() -> None:
    plain_info({str(n): n for n in range(1024)}, set())
    with pytest.raises(GameError, match=r"1025 keys.*at most 1024"):
        plain_info({str(n): n for n in range(1025)}, set())


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.binary(max_size=3),
    st.sampled_from([np.int8(3), np.float32(0.1), np.bool_(True), Tile.GRASS, Level.LOW, 1j, {1}]),
)  # fmt: skip
keys = st.one_of(st.sampled_from([*KEYS, "rewards", "", 7]), st.text(max_size=3))
values = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=8
)


@given(values)
def test_nothing_is_dropped_without_a_word(info: Any) -> None:
    """Whatever the info is, what is left of it packs, and whatever is not is named."""
    shared, unrecorded = shares(info)
    kept = [plain_info(part, unrecorded) for part in shared]
    for part in kept:
        for key, value in part.items():
            assert isinstance(key, str)
            pack_value(value)
    if not unrecorded:
        for whole, part in zip(shared, kept, strict=True):
            assert set(part) == set(whole or {})
    if info not in (None, {}) and not (isinstance(info, dict | list) and not any(shared)):
        assert unrecorded or any(kept)
