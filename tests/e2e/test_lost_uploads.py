"""An upload that is lost on the way, or whose acknowledgement is: exactly one episode, identical to what was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from rollgym.client_sim.exports.spool import Spool
from rollgym.client_sim.exports.upload import Stored, Uploader, UploadResult
from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.messages import MatchStart
from rollgym.server.settings import ServerSettings
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import UploadKey
from rollgym.server.storage.rows import UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue
from rollgym.server.upkeep.consistency import inspect
from tests.e2e.serving import Running, running
from tests.server.clients import Client, make_settings, pair, until
from tests.server.exports import make_export


class Cutter:
    """A wire to the server that is cut where a test says so; each plan is for one connection, then it holds."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.cut_requests_after: list[int] = []
        """Bytes of a connection's request that get through before it is cut."""
        self.cut_answers = 0
        """Connections that are cut when the server's answer comes; none of it gets through."""
        self.connections = 0
        self.cuts = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield f"http://127.0.0.1:{self.port}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        allowed = self.cut_requests_after.pop(0) if self.cut_requests_after else None
        answer = allowed is not None or self.cut_answers == 0
        if not answer:
            self.cut_answers -= 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        up = asyncio.create_task(_pump(reader, far_writer, allowed))
        down = asyncio.create_task(_pump(far_reader, writer, None if answer else 0))
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        self.cuts += allowed is not None or not answer
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        for side in (writer, far_writer):
            side.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: int | None) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            if allowed is not None:
                data = data[:allowed]
                allowed -= len(data)
            writer.write(data)
            await writer.drain()
            if allowed == 0:
                return


class Sender:
    """A client's uploader, which does not wait between attempts."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder)
        self.results: list[UploadResult] = []
        self.uploader = Uploader(self.spool, on_result=self.results.append, sleep=self._no_pause)

    async def _no_pause(self, seconds: float) -> None:
        await asyncio.sleep(0.01)

    async def send(self, export: Export, url: str, start: MatchStart) -> None:
        place = resolved(url, start.upload.replace("{episode}", str(export.header.episode)))
        self.uploader.submit(self.spool.take(export, place, start.ticket))
        assert await self.uploader.drain(30.0)
        await self.uploader.close()


@asynccontextmanager
async def match(settings: ServerSettings) -> AsyncIterator[tuple[Running, Client, MatchStart, Cutter, str]]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(settings))
        cutter = Cutter()
        cutter.target = server.port
        url = await stack.enter_async_context(cutter.open())
        (one, a), _ = await stack.enter_async_context(pair(server.url))
        yield server, one, a, cutter, url


async def check_exactly_one(server: Running, export: Export) -> None:
    """In the catalogue and on the disk, and it is this one."""
    (row,) = await server.server.catalogue.all_uploads()
    store, key = server.server.store, UploadKey(row.match, row.episode, row.player)
    assert store.upload(key) == encode_export(export)
    assert (row.digest, row.frames) == (export.digest, export.header.frames)
    assert [*store.unfinished()] == []
    assert [*store.uploads()] == [key]


@pytest.mark.parametrize("after", [[0], [1], [100], [1000], [0, 100, 1000, 2000]])
async def test_a_dropped_upload_is_sent_again(tmp_path: Path, after: list[int]) -> None:
    async with match(make_settings(tmp_path / "data")) as (server, _, a, cutter, url):
        cutter.cut_requests_after = list(after)
        sender = Sender(tmp_path / "spool")
        export = make_export(a)
        await sender.send(export, url, a)
        assert cutter.cuts == len(after)
        assert cutter.connections == len(after) + 1
        (result,) = sender.results
        assert isinstance(result, Stored)
        assert not result.again
        assert [*sender.spool.pending()] == []
        await check_exactly_one(server, export)


@pytest.mark.parametrize("times", [1, 3])
async def test_a_dropped_acknowledgement_changes_nothing(tmp_path: Path, times: int) -> None:
    async with match(make_settings(tmp_path / "data")) as (server, _, a, cutter, url):
        cutter.cut_answers = times
        sender = Sender(tmp_path / "spool")
        export = make_export(a)
        await sender.send(export, url, a)
        assert cutter.cuts == times
        assert cutter.connections == times + 1
        (result,) = sender.results
        assert isinstance(result, Stored)
        assert result.again
        assert [*sender.spool.pending()] == []
        await check_exactly_one(server, export)


class KilledError(BaseException):
    """The process ends here."""


Kill = Callable[[pytest.MonkeyPatch, list[int]], None]


def _before_the_file_has_its_name(patch: pytest.MonkeyPatch, reached: list[int]) -> None:
    def die(self: FolderStore, key: UploadKey, file: Path) -> None:
        reached.append(1)
        raise KilledError

    patch.setattr(FolderStore, "put_upload", die)


def _before_the_catalogue_has_its_row(patch: pytest.MonkeyPatch, reached: list[int]) -> None:
    async def die(self: SqliteCatalogue, row: UploadRow) -> None:
        reached.append(1)
        raise KilledError

    patch.setattr(SqliteCatalogue, "add_upload", die)


def _before_the_answer(patch: pytest.MonkeyPatch, reached: list[int]) -> None:
    add_upload = SqliteCatalogue.add_upload

    async def die(self: SqliteCatalogue, row: UploadRow) -> None:
        await add_upload(self, row)
        reached.append(1)
        raise KilledError

    patch.setattr(SqliteCatalogue, "add_upload", die)


@pytest.mark.parametrize("kill", [_before_the_file_has_its_name, _before_the_catalogue_has_its_row, _before_the_answer])
async def test_a_server_that_dies_between_body_and_acknowledgement(
    tmp_path: Path, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path / "data", upload_grace=600.0)
    reached: list[int] = []
    sender = Sender(tmp_path / "spool")
    async with AsyncExitStack() as stack:
        async with match(settings) as (server, _, a, cutter, _):
            url = await stack.enter_async_context(cutter.open())
            export = make_export(a)
            with monkeypatch.context() as patch:
                kill(patch, reached)
                sending = asyncio.create_task(sender.send(export, url, a))
                await until(lambda: bool(reached))
                cutter.target = 1  # nobody is there
        assert sender.results == []
        assert len([*sender.spool.pending()]) == 1
        async with running(settings) as server:
            cutter.target = server.port
            await sending
            (result,) = sender.results
            assert isinstance(result, Stored)
            assert [*sender.spool.pending()] == []
            await check_exactly_one(server, export)
    content = await inspect(tmp_path / "data")
    assert [problem for problem in content.problems if not problem.mended] == []
