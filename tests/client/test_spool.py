"""The spool: whole files or none, for the owner's eyes only, and nothing is ever thrown away unsent."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollgym.client_sim.exports.spool import MAGIC, Parcel, Spool, SpoolError, pack
from rollgym.protocol.episode.export_body import decode_export
from rollgym.protocol.files import durable
from tests.client.exports import played

URL = "http://127.0.0.1:1/matches/m/episodes/0"


def parcel(episode: int = 0, **changes: Any) -> tuple[Parcel, bytes]:
    packed, body = pack(played()[0][episode], URL, "secret")
    return msgspec.structs.replace(packed, **changes), body


def test_what_was_put_is_pending_with_all_that_an_upload_needs(tmp_path: Path) -> None:
    export = played()[1][2]
    packed, body = pack(export, URL, "secret")
    Spool(tmp_path).put(packed, body)
    (found,) = Spool(tmp_path).pending()  # as after a restart
    assert found.parcel == packed
    assert (found.parcel.url, found.parcel.ticket) == (URL, "secret")
    assert (found.parcel.match, found.parcel.episode, found.parcel.player) == (export.header.match, 2, 1)
    assert decode_export(zlib.decompress(Spool(tmp_path).body(found))) == export


def test_only_the_owner_may_read_a_ticket(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spooled = spool.put(*parcel())
    assert spooled.path is not None
    assert stat.S_IMODE(spooled.path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) & 0o077 == 0


def test_the_oldest_comes_first_and_the_same_export_twice_is_one_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for age, episode in ((30, 2), (20, 0), (10, 1)):
        path = spool.put(*parcel(episode)).path
        assert path is not None
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert [found.parcel.episode for found in spool.pending()] == [2, 0, 1]
    spool.put(*parcel(1))
    assert sum(1 for _ in spool.pending()) == 3


def test_file_and_folder_are_synced_before_it_counts_as_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[bool, list[str]]] = []

    def sync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append((is_folder, [p.name for p in tmp_path.glob("*.export")]))

    monkeypatch.setattr(durable, "fsync", sync)
    spooled = Spool(tmp_path).put(*parcel())
    assert spooled.path is not None
    # First the file's content, while it still has no final name; then the folder, which by then has that name.
    assert synced == [(False, []), (True, [spooled.path.name])]


def test_a_disk_that_fails_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(handle: int) -> None:
        raise OSError(28, "No space left on device")

    spool = Spool(tmp_path)
    monkeypatch.setattr(durable, "fsync", sync)
    with pytest.raises(SpoolError, match="No space left on device"):
        spool.put(*parcel())
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_while_writing_leaves_nothing_pending(tmp_path: Path) -> None:
    spooled = Spool(tmp_path).put(*parcel())
    assert spooled.path is not None
    whole = spooled.path.read_bytes()
    half = tmp_path / ".000001-00-abc.export.999.tmp"
    half.write_bytes(whole[: len(whole) // 2])
    assert sum(1 for _ in Spool(tmp_path).pending()) == 1
    assert half.exists()  # it may be another process's, at work
    os.utime(half, (1, 1))
    Spool(tmp_path)
    assert not half.exists()
    assert spooled.path.exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "magic", "head", "empty"])
def test_damaged_files_are_set_aside_with_the_reason(tmp_path: Path, damage: str) -> None:
    spool = Spool(tmp_path)
    path = spool.put(*parcel(0)).path
    spool.put(*parcel(1))
    assert path is not None
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-1:]
    elif damage == "flipped":
        data[-100] ^= 1
    elif damage == "magic":
        data[3] ^= 1
    elif damage == "head":
        data[len(MAGIC) + 2] = 0
    else:
        data.clear()
    path.write_bytes(data)
    assert [found.parcel.episode for found in spool.pending()] == [1]
    (aside,) = spool.refused()
    assert aside.read_bytes() == data
    assert "damaged" in (text := aside.with_name(aside.name + ".reason.txt").read_text()) or "not a spool file" in text


def test_text_of_the_server_gets_into_no_path(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spooled = spool.put(*parcel(match="../../outside", url="http://x/../../y\n"))
    assert spooled.path is not None
    assert spooled.path.parent == tmp_path / "spool"
    assert {p.name for p in tmp_path.iterdir()} == {"spool"}
    (found,) = spool.pending()
    assert found.parcel.match == "../../outside"


def test_a_folder_that_another_process_removed_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    spool.put(*parcel())
    assert len(list(spool.pending())) == 1


def test_removed_is_gone_and_removing_twice_is_fine(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spooled = spool.put(*parcel())
    spool.remove(spooled)
    spool.remove(spooled)
    assert list(spool.pending()) == []
    with pytest.raises(FileNotFoundError):
        spool.body(spooled)


def test_a_folder_that_cannot_be_used_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="file: not writable"):
        Spool(tmp_path / "file")


def test_what_was_refused_can_be_taken_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spooled = spool.put(*parcel())
    assert spooled.path is not None
    before = spooled.path.read_bytes()
    spool.refuse(spooled.path, "too large")
    assert list(spool.pending()) == []
    assert spool.take_back() == 1
    assert spool.refused() == []
    assert list(spool.pending()) == [spooled]
    assert spooled.path.read_bytes() == before
    assert list((tmp_path / "refused").iterdir()) == []
    assert spool.take_back() == 0
