"""The server as a process: how it starts, how it says that it cannot, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rollgym.protocol.files.parquet import read_episode
from rollgym.server.errors import ServerError
from rollgym.server.http.serve import bind, serve
from rollgym.server.settings import ServerSettings
from tests.server.clients import WAIT, Client, make_settings, pair, until
from tests.server.exports import PLAY, make_export

PROGRAM = """
import sys
from rollgym.server.errors import ServerError
from rollgym.server.http.serve import configure_logs, main_serve
from rollgym.server.settings import ServerSettings

if __name__ == "__main__":
    configure_logs(json=True)
    try:
        main_serve(ServerSettings.model_validate_json(sys.argv[1]), ready=lambda url: print(url, flush=True))
    except ServerError as error:
        sys.exit(f"error: {error}")
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), WAIT)


async def launch(settings: ServerSettings, program: Path) -> asyncio.subprocess.Process:
    program.write_text(PROGRAM)  # noqa: ASYNC240 - a test may wait
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        settings.model_dump_json(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@asynccontextmanager
async def process(settings: ServerSettings, program: Path) -> AsyncIterator[Process]:
    started = await launch(settings, program)
    assert started.stdout is not None
    try:
        url = (await asyncio.wait_for(started.stdout.readline(), WAIT)).decode().strip()
        if not url:
            assert started.stderr is not None
            raise AssertionError((await started.stderr.read()).decode())
        yield Process(started, url)
    finally:
        if started.returncode is None:
            started.kill()
        _, err = await started.communicate()
        print(err.decode())  # pytest shows it if the test fails


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_quickly_with_open_sockets_and_nothing_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    settings = make_settings(tmp_path / "data")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(process(settings, tmp_path / "program.py"))
        idle = await stack.enter_async_context(Client(server.url))
        (one, a), (two, b) = await stack.enter_async_context(pair(server.url))
        await idle.join()
        await one.upload(a, make_export(a))
        await two.upload(b, make_export(b))
        await two.upload(b, make_export(b, episode=1))
        assert await server.end(number) == 0
        for client in (one, two, idle):
            await asyncio.wait_for(client.gone.wait(), WAIT)
    # What was acknowledged is there, and the next server finishes it.
    async with process(settings, tmp_path / "program.py") as server:
        verdicts: dict[str, int] = {}
        async with aiohttp.ClientSession() as http, asyncio.timeout(WAIT):
            while sum(verdicts.values()) < 2:
                async with http.get(server.url + "/status") as response:
                    status = await response.json()
                verdicts = status["verdicts"]
        assert verdicts == {"verified": 1, "single": 1}
        assert status["orphans"] == []
        assert await server.end(signal.SIGTERM) == 0


async def test_a_client_that_never_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with process(make_settings(tmp_path / "data"), tmp_path / "program.py") as server:
        host, port = server.url.removeprefix("http://").split(":")
        readers = []
        for path in ("/socket.io/?EIO=4&transport=websocket", "/status"):
            reader, writer = await asyncio.open_connection(host, int(port), limit=1)
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            writer.write(
                (request + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + "A" * 22 + "==\r\n\r\n").encode()
            )
            await reader.read(12)
            readers.append(writer)
        assert await server.end(signal.SIGTERM) == 0
        for writer in readers:
            writer.close()


async def test_a_killed_server_takes_its_workers_along_and_loses_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with process(settings, tmp_path / "program.py") as server:
        children = [int(pid) for pid in _children(server.process.pid)]
        assert children
        async with pair(server.url) as ((one, a), (two, b)):
            await one.upload(a, make_export(a))
            await two.upload(b, make_export(b))
            server.process.kill()
            await server.process.wait()
    await until(lambda: not any(_alive(pid) for pid in children))
    async with process(settings, tmp_path / "program.py") as server:
        place = tmp_path / "data" / "episodes" / a.match / "episode_000000" / "canonical.parquet"
        await until(place.exists)
        assert read_episode(place).canonical == make_export(a).canonical
        assert await server.end(signal.SIGTERM) == 0


def _children(pid: int) -> list[str]:
    """Of all its threads: the workers are started by one of them."""
    return [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_ends_by_itself_after_the_last_match(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", matches=1).model_copy(update={"exit_when_done": True})
    async with process(settings, tmp_path / "program.py") as server, pair(server.url) as ((one, a), (two, b)):
        for episode in range(PLAY.episodes):
            await one.upload(a, make_export(a, episode=episode))
            await two.upload(b, make_export(b, episode=episode))
        assert (await one.over()).reason == "complete"
        assert await asyncio.wait_for(server.process.wait(), WAIT) == 0


async def test_a_dead_peer_is_noticed_by_its_silence(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", upload_grace=600.0)
    settings = settings.model_copy(update={"ping_interval": 1, "ping_timeout": 0.5})
    async with process(settings, tmp_path / "program.py") as server, pair(server.url) as ((one, _), (two, _)):
        two.sio.eio.ws._response.connection.transport.pause_reading()  # its pings are never answered
        left = await one.peer_left()
        assert left.player == 1


async def _fails_with(settings: ServerSettings, program: Path) -> str:
    started = await launch(settings, program)
    out, err = await asyncio.wait_for(started.communicate(), WAIT)
    assert out == b""
    assert started.returncode == 1
    lines = [line for line in err.decode().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


async def test_an_occupied_port_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = make_settings(tmp_path / "data").model_copy(update={"port": port})
        text = await _fails_with(settings, tmp_path / "program.py")
    assert text == f"error: port {port} on 127.0.0.1 is occupied: stop what uses it, or choose another"
    assert not (tmp_path / "data").exists()


async def test_an_unusable_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    text = await _fails_with(make_settings(tmp_path / "data"), tmp_path / "program.py")
    assert text.startswith(f"error: data folder {tmp_path / 'data'}: not writable: ")


def test_a_host_that_is_none_is_said_so() -> None:
    with pytest.raises(ServerError, match=r"no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(ServerError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)


async def test_serve_in_process_until_told_to_stop(tmp_path: Path) -> None:
    stop = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(make_settings(tmp_path), ready=ready.set_result, stop=stop, signals=False))
    url = await asyncio.wait_for(ready, WAIT)
    async with Client(url) as client:
        assert (await client.join())["ok"]
        async with client.http.get(url + "/health") as response:
            body: Any = json.loads(await response.text())
            assert body == {"ok": True}
        stop.set()
        await asyncio.wait_for(task, WAIT)
        await asyncio.wait_for(client.gone.wait(), WAIT)
    assert (tmp_path / "catalogue.sqlite").is_file()
