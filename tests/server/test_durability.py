"""What was acknowledged outlives a power cut: each sync that this takes is missed here if it is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rollgym
from rollgym.client_sim.exports.export_files import keep_export
from rollgym.client_sim.exports.spool import Spool, pack
from rollgym.processes.workers import Workers
from rollgym.protocol.files import durable
from rollgym.server.http.app import SERVER
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from tests.power_cut import Disk
from tests.server.clients import make_settings, pair, running
from tests.server.exports import make_export
from tests.server.test_verdicts import start


class Inline(Workers):
    """Does its work in this process, where every sync is seen."""

    async def start(self, *modules: str) -> None:
        """Nothing to start."""

    async def _submit(self, seconds: float | None, work: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return await asyncio.to_thread(work, *args, **kwargs)


async def test_what_was_acknowledged_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    disk = Disk(monkeypatch)
    monkeypatch.setattr("tests.server.clients.WORKERS", Inline(1))
    monkeypatch.setattr("tests.server.clients.JUDGES", Inline(1))
    async with running(make_settings(data)) as server, pair(server.url) as ((one, a), (two, b)):
        assert isinstance(server.app[SERVER].workers, Inline)
        discard = server.server.store.discard_uploads
        monkeypatch.setattr(server.server.store, "discard_uploads", lambda *_: None)
        for client, begun in ((one, a), (two, b)):
            await client.upload(begun, make_export(begun))
            (path,) = (data / "inbox").rglob(f"*.{begun.player}.msgpack")
            assert disk.keeps(path, tmp_path)
        await one.verdict()
        files = [*(data / "episodes").rglob("*.parquet")]
        assert len(files) == 3
        assert all(disk.keeps(path, tmp_path) for path in files)
        discard(UploadKey(a.match, 0, player) for player in (0, 1))


async def test_a_commit_of_the_catalogue_is_synced(tmp_path: Path) -> None:
    """2 is FULL: in WAL mode it is what makes each commit durable; NORMAL only keeps the file whole."""
    catalogue = SqliteCatalogue(tmp_path / "c")
    try:
        assert await catalogue.call(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
        assert await catalogue.call(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    finally:
        await asyncio.to_thread(catalogue.close)


def test_what_a_peer_spools_and_keeps_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    export = make_export(start(0))
    spooled = Spool(tmp_path / "new" / "spool").put(*pack(export, "http://x/", "t"))
    assert spooled.path is not None
    assert disk.keeps(spooled.path, tmp_path)
    assert disk.keeps(Spool(tmp_path / "new" / "spool").refuse(spooled.path, "too large"), tmp_path)
    Spool(tmp_path / "new" / "spool").take_back()
    assert disk.keeps(spooled.path, tmp_path)
    assert disk.keeps(keep_export(export, tmp_path / "kept"), tmp_path)


def test_nothing_syncs_by_itself() -> None:
    """One way to write durably, so that one test sees all of it."""
    root = Path(rollgym.__file__).parent
    sources = list(root.rglob("*.py"))
    for linked in ("server", "client_sim", "games"):  # rglob follows no links
        sources += (root / linked).resolve().rglob("*.py")
    assert len(sources) > 250
    found = [path for path in sources if "fsync(" in path.read_text(encoding="utf-8")]
    assert [path.name for path in found] == ["durable.py"]


@pytest.mark.parametrize("left_out", ["content", "name", "folder"])
def test_each_step_of_a_durable_write_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    """The oracle itself: it sees each step that is left out."""
    disk = Disk(monkeypatch)
    path = tmp_path / "folder" / "file"

    def only_rename(temporary: Path, final: Path) -> None:
        durable.make_folder(final.parent)
        temporary.replace(final)

    if left_out == "content":
        monkeypatch.setattr(durable, "sync_file", lambda _: None)
    elif left_out == "name":
        monkeypatch.setattr(durable, "publish", only_rename)
    else:
        path.parent.mkdir()
    durable.write(path, [b"some", b"thing"], temporary=tmp_path / "temporary")
    assert path.read_bytes() == b"something"
    assert not disk.keeps(path, tmp_path)
    monkeypatch.undo()
    disk = Disk(monkeypatch)
    other = tmp_path / "second" / "file"
    durable.write(other, [b"some", b"thing"], temporary=tmp_path / "temporary")
    assert disk.keeps(other, tmp_path)
