"""compare: identical or not, and where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.dataset.compare import Comparison, compare_files
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, Header, Info
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.files.parquet import EpisodeFileError, write_episode
from tests.protocol.episodes import exports, small_episode

INFOS = [Info(row, agent, "score", pack_value(row)) for row in range(6) for agent in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


def _compare(folder: Path, one: tuple[Header, Canonical], two: tuple[Header, Canonical]) -> Comparison:
    write_episode(folder / "one.parquet", *one, None, {"written": "first"})
    write_episode(folder / "two.parquet", *two, None, {})
    return compare_files(folder / "one.parquet", folder / "two.parquet")


def _changed(canonical: Canonical, name: str, place: Any, value: Any) -> Canonical:
    array = canonical.columns[name].array().copy()
    assert array[place] != value
    array[place] = value
    return Canonical({**canonical.columns, name: Column.of(array)}, canonical.infos)


@given(export=exports(max_frames=6).filter(lambda e: e.header.frames > 0))
def test_two_peers_of_one_episode_are_identical_whatever_their_own_parts(folder: Path, export: Export) -> None:
    one, two = folder / "own1.parquet", folder / "own2.parquet"
    write_episode(one, export.header, export.canonical, export.own, {})
    write_episode(two, export.header, export.canonical, None, {"verdict": "verified"})
    found = compare_files(one, two)
    assert found.identical
    assert found.difference is None
    assert found.frames == (export.header.frames, export.header.frames)


@pytest.mark.parametrize(
    ("name", "place", "value", "frame", "index"),
    [
        ("rewards", (3, 1), 8.0, 3, (1,)),
        ("actions/b", (2, 0), 9, 2, (0,)),
        ("observations/a/at", (5, 1), -1, 5, (1,)),
        ("observations/b/at", 0, 2.5, 0, ()),
        ("state_digest", 4, 1, 4, ()),
    ],
)
def test_one_altered_value_is_named(
    tmp_path: Path, name: str, place: Any, value: Any, frame: int, index: tuple[int, ...]
) -> None:
    header, canonical = small_episode(frames=5, infos=INFOS)
    altered = _changed(canonical, name, place, value)
    found = _compare(tmp_path, (header, canonical), (header, altered))
    assert not found.identical
    assert found.difference is not None
    assert (found.difference.frame, found.difference.field, found.difference.index) == (frame, name, index)
    was, now = (side.columns[name].array()[place].item() for side in (canonical, altered))
    assert (found.difference.first, found.difference.second) == (repr(was), repr(now))
    assert found.differing_rows == {name: 1}


def test_the_lowest_frame_comes_first_and_all_rows_are_counted(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=5, infos=INFOS)
    other = _changed(canonical, "rewards", (4, 0), -1)
    for row in (2, 3, 5):
        other = _changed(other, "state_digest", row, 0)
    found = _compare(tmp_path, (header, canonical), (header, other))
    assert found.difference is not None
    assert (found.difference.frame, found.difference.field) == (2, "state_digest")
    assert found.differing_rows == {"rewards": 1, "state_digest": 3}


def test_a_changed_info_counts_at_the_frame_that_led_to_it(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=5, infos=INFOS)
    infos = [msgspec.structs.replace(i, value=pack_value(-7)) if (i.row, i.agent) == (3, 1) else i for i in INFOS]
    found = _compare(tmp_path, (header, canonical), (header, Canonical(canonical.columns, infos)))
    assert str(found.difference) == "frame 2, infos/b/score: 3 against -7"


@pytest.mark.parametrize(("value", "text"), [(3.0, "3.0"), ("3", "'3'"), (True, "True"), (None, "None")])
def test_an_info_of_another_type_differs(tmp_path: Path, value: Any, text: str) -> None:
    header, canonical = small_episode(frames=5, infos=INFOS)
    infos = [msgspec.structs.replace(i, value=pack_value(value)) if (i.row, i.agent) == (3, 0) else i for i in INFOS]
    found = _compare(tmp_path, (header, canonical), (header, Canonical(canonical.columns, infos)))
    assert str(found.difference) == f"frame 2, infos/a/score: 3 against {text}"
    assert found.differing_rows == {"infos/a/score": 1}


def test_a_missing_info_differs_from_any_value(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=5, infos=INFOS)
    infos = [i for i in INFOS if (i.row, i.agent) != (4, 0)]
    found = _compare(tmp_path, (header, canonical), (header, Canonical(canonical.columns, infos)))
    assert str(found.difference) == "frame 3, infos/a/score: 4 against (no key)"
    found = _compare(tmp_path, (header, canonical), (header, Canonical(canonical.columns, infos[:1])))
    assert not found.identical
    assert found.differing_fields == ["infos/b/score"]


def test_float_bits_count(tmp_path: Path) -> None:
    header, canonical = small_episode(
        frames=5, infos=[Info(2, 0, "x", pack_value(0.0)), Info(3, 0, "x", pack_value(np.nan))]
    )
    assert _compare(tmp_path, (header, canonical), (header, canonical)).identical
    infos = [Info(2, 0, "x", pack_value(-0.0)), canonical.infos[1]]
    found = _compare(tmp_path, (header, canonical), (header, Canonical(canonical.columns, infos)))
    assert str(found.difference) == "frame 1, infos/a/x: 0.0 against -0.0"


def test_a_shorter_file_differs_where_it_ends(tmp_path: Path) -> None:
    long, short = small_episode(frames=5), small_episode(frames=4)
    columns = {
        name: Column.of(column.array()[: 4 + (len(column.array()) == 6)]) for name, column in long[1].columns.items()
    }
    header = msgspec.structs.replace(long[0], frames=4)
    found = _compare(tmp_path, long, (header, Canonical(columns, [])))
    assert short[0].frames == 4
    assert str(found.difference) == "frame 4, frame: 4 against (no row)"
    assert found.frames == (5, 4)
    assert found.differing_rows == {}


def test_another_header_or_type_differs_outside_of_the_frames(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=3)
    other = msgspec.structs.replace(
        header, seed=77, game=msgspec.structs.replace(header.game, parameters={"points": 3.0})
    )
    found = _compare(tmp_path, (header, canonical), (other, canonical))
    assert found.differing_fields == ["header.seed", "header.game.parameters.points"]
    assert str(found.difference) == "outside of the frames, header.seed: 2 against 77"
    wider = Column.of(canonical.columns["observations/b/at"].array().astype(np.float64))
    columns = {**canonical.columns, "observations/b/at": wider}
    found = _compare(tmp_path, (header, canonical), (header, Canonical(columns, [])))
    assert found.differing_fields == ["observations/b/at"]


@given(export=exports(max_frames=4).filter(lambda e: e.header.frames > 0), data=st.data())
def test_compare_finds_what_the_server_finds(folder: Path, export: Export, data: st.DataObject) -> None:
    names = [name for name, column in export.canonical.columns.items() if column.data and name != "frame"]
    name = data.draw(st.sampled_from(names))
    column = export.canonical.columns[name]
    at = data.draw(st.integers(0, len(column.data) - 1))
    altered = bytearray(column.data)
    altered[at] ^= data.draw(st.integers(1, 255))
    other = Canonical(
        {**export.canonical.columns, name: Column(column.dtype, column.shape, bytes(altered))}, export.canonical.infos
    )
    found = _compare(folder, (export.header, export.canonical), (export.header, other))
    mismatch = compare_episodes((export.header, export.canonical), (export.header, other))
    assert mismatch is not None
    assert found.difference is not None
    assert (found.difference.frame, found.difference.field) == (mismatch.frame, mismatch.field)


def test_empty_and_unreadable_files_are_errors(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=2)
    write_episode(tmp_path / "whole.parquet", header, canonical, None, {})
    empty = msgspec.structs.replace(header, frames=0, status="aborted")
    columns = {
        name: Column.of(column.array()[: 1 if len(column.array()) == 3 else 0])
        for name, column in canonical.columns.items()
    }
    write_episode(tmp_path / "empty.parquet", empty, Canonical(columns, []), None, {})
    write_episode(tmp_path / "own.parquet", header, None, None, {})
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    for name, reason in {
        "empty.parquet": "holds no frame",
        "own.parquet": "no canonical frames",
        "bad.parquet": "not a readable episode",
        "none.parquet": "no such file",
    }.items():
        with pytest.raises(EpisodeFileError, match=f"{name}.*{reason}"):
            compare_files(tmp_path / "whole.parquet", tmp_path / name)
        with pytest.raises(EpisodeFileError, match=f"{name}.*{reason}"):
            compare_files(tmp_path / name, tmp_path / name)
