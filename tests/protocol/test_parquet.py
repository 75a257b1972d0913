"""Episodes go into Parquet files and come back bit for bit; anything else is an EpisodeFileError."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
from pathlib import Path
from unittest import mock

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, Info, content_digest
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.values import pack_value, unpack_value
from rollgym.protocol.files.infos import MAX_INFO_COLUMNS, get_info_values
from rollgym.protocol.files.parquet import (
    EpisodeFileError,
    read_arrow,
    read_episode,
    read_footer,
    read_layout,
    read_table,
    write_episode,
)
from tests.protocol.episodes import exports, small_episode

_count = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("episodes")


def _bits(part: object) -> bytes:
    return msgspec.msgpack.encode(part)


@given(export=exports(), extra=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_every_export_comes_back_bit_for_bit(folder: Path, export: Export, extra: dict[str, str]) -> None:
    check_export(export)
    path = folder / f"{next(_count)}.parquet"
    write_episode(path, export.header, export.canonical, export.own, extra)
    stored = read_episode(path)
    assert stored.canonical is not None
    assert stored.own is not None
    assert content_digest(stored.header, stored.canonical) == export.digest
    assert _bits(stored.canonical) == _bits(export.canonical)
    assert _bits(stored.own) == _bits(export.own)  # bytes, because NaN is not equal to itself
    assert stored.extra == extra
    assert msgspec.to_builtins(read_layout(path).header).keys() == msgspec.to_builtins(export.header).keys()
    path.unlink()


@given(export=exports(max_frames=3))
def test_each_part_can_stand_alone(folder: Path, export: Export) -> None:
    path = folder / f"{next(_count)}.parquet"
    write_episode(path, export.header, export.canonical, None, {})
    stored = read_episode(path)
    assert stored.own is None
    assert stored.canonical == export.canonical
    write_episode(path, export.header, None, export.own, {})
    stored = read_episode(path)
    assert stored.canonical is None
    assert _bits(stored.own) == _bits(export.own)
    path.unlink()


@given(export=exports(), as_list=st.booleans())
def test_unpacked_infos_are_those_of_the_export(folder: Path, export: Export, as_list: bool) -> None:
    path = folder / f"{next(_count)}.parquet"
    with mock.patch("rollgym.protocol.files.infos.MAX_INFO_COLUMNS", 0 if as_list else MAX_INFO_COLUMNS):
        write_episode(path, export.header, export.canonical, None, {})
    footer = read_footer(path)
    layout, table = read_table(path, footer)
    assert layout.canonical is not None
    found = [
        (row, part.agent, part.key, type(value), pack_value(value))  # bytes, because NaN is not equal to itself
        for part in get_info_values(table, layout.canonical)
        for row, value in zip(part.rows, part.values, strict=True)
    ]
    given = [(i.row, i.agent, i.key, type(unpack_value(i.value)), i.value) for i in export.canonical.infos]
    assert sorted(found, key=lambda item: item[:3]) == given
    path.unlink()


def test_rows_mean_what_the_documentation_says(tmp_path: Path) -> None:
    infos = [
        Info(0, 0, "score", pack_value(0)),
        Info(2, 0, "event", pack_value("goal")),
        Info(2, 0, "score", pack_value(1)),
    ]
    write_episode(tmp_path / "e.parquet", *small_episode(frames=3, infos=infos), None, {"verdict": "verified"})
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.num_rows == 4
    assert table["frame"].to_pylist() == [0, 1, 2, None]
    assert table["rewards"].to_pylist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], None]
    assert table["observations/a/at"].to_pylist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert table["infos/a/score"].to_pylist() == [0, None, 1, None]
    assert table["infos/a/event"].to_pylist() == [None, None, "goal", None]
    assert table.schema.field("infos/a/score").type == pa.int64()
    assert read_layout(tmp_path / "e.parquet").extra == {"verdict": "verified"}


def test_values_of_mixed_type_stay_what_they_are(tmp_path: Path) -> None:
    plain = [1, 1.0, True, "1", None, [1], 2**64 - 1]
    infos = [Info(row, 1, "x", pack_value(value)) for row, value in enumerate(plain)]
    header, canonical = small_episode(frames=len(plain), infos=infos)
    write_episode(tmp_path / "e.parquet", header, canonical, None, {})
    stored = read_episode(tmp_path / "e.parquet").canonical
    assert stored is not None
    assert [(type(v), v) for v in (unpack_value(i.value) for i in stored.infos)] == [(type(v), v) for v in plain]


def test_endless_info_keys_share_one_column(tmp_path: Path) -> None:
    infos = [Info(1, 0, f"key {n:04}", pack_value(n)) for n in range(MAX_INFO_COLUMNS + 1)]
    header, canonical = small_episode(frames=2, infos=infos)
    write_episode(tmp_path / "e.parquet", header, canonical, None, {})
    assert read_episode(tmp_path / "e.parquet").canonical == canonical
    names = pq.read_schema(tmp_path / "e.parquet").names
    assert "infos" in names
    assert not any(name.startswith("infos/") for name in names)


def test_a_column_replaced_by_other_tools_is_still_read(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=3)
    write_episode(tmp_path / "e.parquet", header, canonical, None, {})
    table = pq.read_table(tmp_path / "e.parquet")
    rewards = table["rewards"].to_pylist()
    rewards[1][0] = 7.0
    place = table.schema.get_field_index("rewards")
    pq.write_table(table.set_column(place, "rewards", pa.array(rewards)), tmp_path / "altered.parquet")
    stored = read_episode(tmp_path / "altered.parquet").canonical
    assert stored is not None
    assert stored.columns["rewards"].array().tolist() == [[0.0, 1.0], [7.0, 3.0], [4.0, 5.0]]
    assert content_digest(header, stored) != content_digest(header, canonical)


@pytest.fixture(scope="module")
def stored(folder: Path) -> bytes:
    path = folder / "whole.parquet"
    write_episode(path, *small_episode(frames=3, infos=[Info(1, 0, "k", pack_value([1]))]), None, {})
    return path.read_bytes()


@given(data=st.data())
def test_a_truncated_file_is_refused(folder: Path, stored: bytes, data: st.DataObject) -> None:
    path = folder / f"{next(_count)}.parquet"
    path.write_bytes(stored[: data.draw(st.integers(0, len(stored) - 1))])
    with pytest.raises(EpisodeFileError) as caught:
        read_episode(path)
    assert str(path) in str(caught.value)
    path.unlink()


@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_something_else(
    folder: Path, stored: bytes, data: st.DataObject
) -> None:
    path = folder / f"{next(_count)}.parquet"
    damaged = bytearray(stored)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with contextlib.suppress(EpisodeFileError):
        assert read_episode(path).header.frames >= 0
    path.unlink()


def test_a_flipped_bit_among_the_rows_is_noticed(folder: Path, stored: bytes) -> None:
    table_start, footer = 4, int.from_bytes(stored[-8:-4], "little")
    body = len(stored) - footer - 8
    assert body - table_start > 300
    refused = 0
    for at in range(table_start, body, 3):
        damaged = bytearray(stored)
        damaged[at] ^= 0x10
        path = folder / "flipped.parquet"
        path.write_bytes(damaged)
        try:
            assert read_episode(path).canonical == small_episode(frames=3, infos=[Info(1, 0, "k", pack_value([1]))])[1]
        except EpisodeFileError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(EpisodeFileError, match=r"x\.parquet: not a readable episode"):
        read_episode(path)


def test_parquet_of_another_project_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"frame": [0, 1]}), path)
    with pytest.raises(EpisodeFileError, match="not of this project"):
        read_episode(path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_episode(path, *small_episode(frames=1), None, {})
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"rollgym.schema": b"99"}), path)
    with pytest.raises(EpisodeFileError, match="episode schema 99: expected 1"):
        read_episode(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(EpisodeFileError, match="no such file"):
            read_episode(path)


def test_what_has_no_place_in_the_file_is_refused(tmp_path: Path) -> None:
    header, canonical = small_episode(frames=2)
    columns = {**canonical.columns, "observations/a/at": Column.of(np.zeros((9, 2)))}
    with pytest.raises(EpisodeFileError, match="observations/a/at: 9 rows, expected 2 or 3"):
        write_episode(tmp_path / "x.parquet", header, Canonical(columns, []), None, {})
    assert not (tmp_path / "x.parquet").exists()


class Watched(io.FileIO):
    """A file that knows who uses it."""

    users: set[int]

    def read(self, size: int | None = -1, /) -> bytes:
        self.users.add(threading.get_ident())
        return super().read(size)

    def write(self, data: object, /) -> int:
        self.users.add(threading.get_ident())
        return super().write(data)  # type: ignore[arg-type]


def test_no_thread_of_arrow_has_a_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that still holds it while the interpreter ends aborts the process, whatever the command had found out."""
    monkeypatch.setattr(Watched, "users", set(), raising=False)
    monkeypatch.setattr(Path, "open", lambda self, mode: Watched(self, mode))
    path = tmp_path / "e.parquet"
    header, canonical = small_episode(frames=5)
    write_episode(path, header, canonical, None, {})
    assert read_episode(path).canonical == canonical
    table = pa.table({f"c{column}": np.arange(9) for column in range(9)})
    pq.write_table(table, tmp_path / "flat.parquet")
    assert read_arrow(tmp_path / "flat.parquet").equals(table)
    assert Watched.users == {threading.get_ident()}
