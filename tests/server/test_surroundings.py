"""What the server finds around it when it starts, and what is thrown at it: one line each."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine

from rollgym.server.errors import ServerError
from rollgym.server.http import descriptors
from rollgym.server.http.descriptors import OWN, PER_CLIENT, PER_WORKER, connections_that_fit
from rollgym.server.http.library_logs import Bridge
from rollgym.server.settings import GameSettings, ServerSettings
from tests.server.clients import WAIT, Client, make_settings, pair
from tests.server.test_serve import launch, process

SETTINGS = ServerSettings()
BASE = OWN + 2 * PER_WORKER * SETTINGS.workers


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The system's limit, soft and hard; the last one counts."""
    held = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: held[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: held.append(limits))
    return held


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised"),
    [
        (100_000, 100_000, 1000, False),
        (1024, 1 << 20, 1000, True),
        (1024, 1024, (1024 - BASE) // PER_CLIENT, False),
        (64, 80, (80 - BASE) // PER_CLIENT, True),
        (64, resource.RLIM_INFINITY, 1000, True),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1000, False),
    ],
)
def test_connections_are_as_many_as_there_are_descriptors_for(
    limit: list[tuple[int, int]], soft: int, hard: int, connections: int, raised: bool
) -> None:
    limit.append((soft, hard))
    assert connections_that_fit(SETTINGS, 2) == connections
    assert (limit[-1][0] != soft) is raised
    assert limit[-1][1] == hard


def test_too_few_descriptors_for_one_match_are_said_in_one_line(limit: list[tuple[int, int]]) -> None:
    limit.append((BASE + 2 * PER_CLIENT - 1, BASE + 2 * PER_CLIENT - 1))
    with pytest.raises(ServerError, match=r"^\d+ open files allowed: expected at least \d+, for one match .*$"):
        connections_that_fit(SETTINGS, 2)
    assert descriptors.PER_CLIENT == 3


class Ticking:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(error: BaseException | None, message: str = "Error handling request from %s") -> logging.LogRecord:
    info: Any = None if error is None else (type(error), error, None)
    return logging.LogRecord("aiohttp.server", logging.ERROR, "", 1, message, ("192.0.2.1",), info)


def test_what_is_no_http_is_one_line_a_second() -> None:
    clock = Ticking()
    bridge = Bridge(clock)
    with structlog.testing.capture_logs() as lines:
        for _ in range(500):
            bridge.handle(record(BadHttpMessage("Invalid header token:\n\n    b'Host : x'\n          ^")))
        clock.now = 1.0
        bridge.handle(record(BadStatusLine("x" * 5000)))
    assert [line["event"] for line in lines] == ["not_http", "not_http"]
    assert (lines[0]["remote"], lines[0]["others"]) == ("192.0.2.1", 0)
    assert "Invalid header token: b'Host : x' ^" in lines[0]["error"]
    assert lines[1]["others"] == 499
    for line in lines:
        assert "exc_info" not in line
        assert len(line["error"]) <= 200
        assert "\n" not in line["error"]


def test_other_things_that_libraries_log_are_kept_whole() -> None:
    error = RuntimeError("of ours")
    with structlog.testing.capture_logs() as lines:
        Bridge().handle(record(error))
        Bridge().handle(record(None, "plain %s"))
    assert [(line["event"], line["log_level"], line["message"]) for line in lines] == [
        ("library", "error", "Error handling request from 192.0.2.1"),
        ("library", "error", "plain 192.0.2.1"),
    ]
    assert lines[0]["exc_info"][1] is error


GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\nA\r\n\r\n",
    b"PUT /matches/x/episodes/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
    b"x" * 20_000 + b"\r\n\r\n",
)


async def test_garbage_makes_no_tracebacks_and_hangups_are_an_end_like_any_other(tmp_path: Path) -> None:
    started = await launch(make_settings(tmp_path / "data"), tmp_path / "program.py")
    assert started.stdout is not None
    url = (await asyncio.wait_for(started.stdout.readline(), WAIT)).decode().strip()
    host, port = url.removeprefix("http://").split(":")
    for garbage in GARBAGE * 3:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        assert (await asyncio.wait_for(reader.read(), WAIT)).startswith(b"HTTP/1.0 400")
        writer.close()
    async with Client(url) as client:
        await client.join()
        started.send_signal(signal.SIGHUP)
        await asyncio.wait_for(client.gone.wait(), WAIT)
        _, err = await asyncio.wait_for(started.communicate(), WAIT)
    assert started.returncode == 0
    lines = [json.loads(line) for line in err.decode().splitlines()]  # each by itself
    events = [line["event"] for line in lines]
    assert events[-2:] == ["stopping", "stopped"], lines[-2]
    assert 1 <= events.count("not_http") < len(GARBAGE) * 3
    assert sum(line.get("others", 0) + 1 for line in lines if line["event"] == "not_http") <= len(GARBAGE) * 3


async def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        async with process(make_settings(tmp_path / "data"), tmp_path / "program.py") as server:
            server.process.send_signal(signal.SIGHUP)
            async with pair(server.url) as ((one, _), _):
                assert (await one.call("finished", {"episodes": 0}))["ok"]
            assert await server.end(signal.SIGTERM) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_few_descriptors_are_enough_or_said_in_one_line(tmp_path: Path) -> None:
    needed = BASE + 2 * PER_CLIENT
    for allowed in (needed, needed - 1):
        code = (
            f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({allowed}, {allowed}));"
            f"sys.argv = ['serve', {make_settings(tmp_path / 'data').model_dump_json()!r}];"
            f"runpy.run_path({str(tmp_path / 'program.py')!r}, run_name='__main__')"
        )
        if allowed == needed:
            async with process(make_settings(tmp_path / "other"), tmp_path / "program.py"):
                pass  # which writes the program
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert started.stdout is not None
        url = (await asyncio.wait_for(started.stdout.readline(), WAIT)).decode().strip()
        if allowed == needed:
            async with pair(url) as ((one, _), (two, _)):
                for client in (one, two):
                    assert (await client.call("finished", {"episodes": 0}))["ok"]
            started.terminate()
        _, err = await asyncio.wait_for(started.communicate(), WAIT)
        if allowed == needed:
            assert started.returncode == 0, err.decode()
        else:
            assert started.returncode == 1
            (line,) = err.decode().splitlines()
            assert line.startswith(f"error: {allowed} open files allowed: expected at least {needed}")


NOTES_ITS_PROCESS = """
import os
from pathlib import Path
import gymnasium, numpy as np
from gymnasium import spaces
NOTES = Path(__file__).with_name("pids")
def note():
    with NOTES.open("a") as file:
        file.write(f"{os.getpid()}\\n")
note()
class Env(gymnasium.Env):
    metadata = {"render_fps": 30}
    action_space = spaces.Dict({k: spaces.Discrete(2) for k in "pq"})
    observation_space = spaces.Dict({k: spaces.Discrete(2) for k in "pq"})
    def __init__(self):
        note()
        os.chdir("/")
        print("no newline", end="")
"""


async def test_the_server_neither_imports_nor_makes_a_game_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "noting_env.py").write_text(NOTES_ITS_PROCESS)  # beside the program, so that it is found
    settings = make_settings(tmp_path / "data", game=GameSettings(id="noting_env:Env"))
    async with process(settings, tmp_path / "program.py") as server:
        async with Client(server.url) as client:
            answer = await client.join()  # of drift: it is compared with what the server knows of the game
        assert answer["error"]["code"] == "game_mismatch"
        pids = {int(pid) for pid in (tmp_path / "pids").read_text().split()}
        assert pids
        assert server.process.pid not in pids
        assert await server.end(signal.SIGTERM) == 0
    assert (tmp_path / "data" / "catalogue.sqlite").exists()
