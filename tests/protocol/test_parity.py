"""Where two episodes first differ."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, Info
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.episode.values import pack_value
from tests.protocol.episodes import exports, small_episode

INFOS = [Info(row, 0, "score", pack_value(row)) for row in range(6)]
HEADER, CANONICAL = small_episode(5, INFOS)


def _altered(name: str, place: Any, value: Any) -> Canonical:
    array = CANONICAL.columns[name].array().copy()
    array[place] = value
    return Canonical({**CANONICAL.columns, name: Column.of(array)}, CANONICAL.infos)


def _compare(other: Canonical) -> Any:
    return compare_episodes((HEADER, CANONICAL), (HEADER, other))


@given(exports())
def test_an_episode_equals_itself(export: Export) -> None:
    # NaN included: bits count.
    assert compare_episodes((export.header, export.canonical), (export.header, export.canonical)) is None


@pytest.mark.parametrize(
    ("name", "place", "value", "frame"),
    [
        ("rewards", (3, 1), 9.5, 3),
        ("actions/a", (0, 0), 7, 0),
        ("observations/a/at", (5, 0), -1, 5),
        ("state_digest", 5, 0, 5),
        ("terminations", (2, 0), True, 2),
    ],
)
def test_the_frame_and_the_field_are_named(name: str, place: Any, value: Any, frame: int) -> None:
    found = _compare(_altered(name, place, value))
    assert found is not None
    assert (found.frame, found.field) == (frame, name)
    assert str(found).startswith(f"frame {frame}, {name}: ")


def test_the_lowest_frame_wins_over_the_first_name() -> None:
    first = _altered("actions/a", (4, 0), 9)
    both = Canonical({**first.columns, "state_digest": _altered("state_digest", 1, 0).columns["state_digest"]}, INFOS)
    found = _compare(both)
    assert (found.frame, found.field) == (1, "state_digest")


def test_an_info_belongs_to_the_frame_that_led_to_it() -> None:
    infos = [msgspec.structs.replace(i, value=pack_value(99)) if i.row == 3 else i for i in INFOS]
    found = _compare(Canonical(CANONICAL.columns, infos))
    assert (found.frame, found.first, found.second) == (2, "3", "99")
    found = _compare(Canonical(CANONICAL.columns, INFOS[:-1]))
    assert (found.frame, found.second) == (4, "(no key)")


def test_a_missing_or_other_column_has_no_frame() -> None:
    columns = {name: column for name, column in CANONICAL.columns.items() if name != "observations/b/at"}
    assert (found := _compare(Canonical(columns, INFOS))).frame is None
    assert found.field == "columns.observations/b/at"
    wider = Column.of(CANONICAL.columns["observations/b/at"].array().astype(np.float64))
    found = _compare(Canonical({**CANONICAL.columns, "observations/b/at": wider}, INFOS))
    assert (found.frame, found.first, found.second) == (None, "<f4()", "<f8()")


def test_a_shorter_episode_differs_where_it_ends() -> None:
    columns = {n: Column.of(c.array()[: 3 + (len(c.array()) == 6)]) for n, c in CANONICAL.columns.items()}
    found = _compare(Canonical(columns, [info for info in INFOS if info.row <= 3]))
    assert found.frame == 3
    assert "(no row)" in (found.first, found.second)


def test_the_header_counts_unless_it_is_left_out() -> None:
    other = msgspec.structs.replace(HEADER, seed=99)
    found = compare_episodes((HEADER, CANONICAL), (other, CANONICAL))
    assert found is not None
    assert (found.frame, found.field, found.first, found.second) == (None, "seed", "2", "99")
    assert compare_episodes((HEADER, CANONICAL), (other, CANONICAL), header=False) is None


@given(export=exports(max_frames=5).filter(lambda e: e.header.frames > 0), data=st.data())
def test_any_altered_byte_is_found_and_both_ways_alike(export: Export, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([n for n, c in export.canonical.columns.items() if c.data]))
    column = export.canonical.columns[name]
    at = data.draw(st.integers(0, len(column.data) - 1))
    damaged = bytearray(column.data)
    damaged[at] ^= data.draw(st.integers(1, 255))
    changed = Column(column.dtype, column.shape, bytes(damaged))
    other = Canonical({**export.canonical.columns, name: changed}, export.canonical.infos)
    one, two = (export.header, export.canonical), (export.header, other)
    found, turned = compare_episodes(one, two), compare_episodes(two, one)
    assert found is not None
    assert turned is not None
    row = at // (len(column.data) // column.shape[0])
    assert (found.frame, found.field) == (row, name) == (turned.frame, turned.field)
    assert (found.first, found.second) == (turned.second, turned.first)
