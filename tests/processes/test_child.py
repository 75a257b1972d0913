"""Children: messages, what they print, how they end, and that none outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rollgym.processes.framing import MAX_MESSAGE, FramingError, framed, length
from rollgym.processes.parent import Child
from rollgym.running.subprocesses import Child as Program

TARGETS = "tests.processes.targets"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])


async def test_messages_of_all_sizes_come_back_whole_and_in_order() -> None:
    child = await Child.start(f"{TARGETS}:echo")
    messages = [b"", b"a", b"x" * 300_000, b"end", b"y" * 5_000_000]
    for message in messages:
        child.send(message)
    assert [await child.receive() for _ in messages] == messages
    assert (await child.close()).code == -signal.SIGKILL
    assert await child.receive() is None


async def test_what_a_child_prints_is_heard_and_is_no_message() -> None:
    heard: list[str] = []
    child = await Child.start(f"{TARGETS}:noisy", on_output=heard.append)
    assert await child.receive() == b"done"
    assert await child.receive() is None
    ending = await child.ended()
    assert ending.code == 0
    assert heard[0] == "to stdout"
    assert "".join(heard[1:]).count("x") == 10_000
    assert max(map(len, heard)) <= 4096
    assert "to stderr" in "".join(heard)
    assert "last words without a newline" in "".join(heard)
    assert ending.tail == tuple(heard)


async def test_what_a_child_forks_has_nothing_to_say() -> None:
    child = await Child.start(f"{TARGETS}:forking")
    assert [await child.receive() for _ in range(3)] == [b"0", b"done", None]
    assert (await child.ended()).code == 0


async def test_an_exception_ends_the_child_and_its_traceback_is_heard() -> None:
    child = await Child.start(f"{TARGETS}:failing")
    assert await child.receive() is None
    ending = await child.ended()
    assert ending.code == 1
    assert ending.tail[-1] == "RuntimeError: this is why"
    assert str(ending) == "it ended with code 1"


async def test_a_game_finds_the_surroundings_of_an_ordinary_program() -> None:
    child = await Child.start(f"{TARGETS}:surroundings")
    here = str(Path.cwd()) in sys.path  # the parent's path, and no current folder of its own
    assert await child.receive() == f"ran True {here}".encode()
    await child.ended()


@pytest.mark.parametrize("kind", [Child, Program])
async def test_how_it_ended_is_known_though_it_is_sent_a_signal_after_its_end(
    kind: type[Child | Program], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late, really = threading.Event(), os.waitpid

    def waitpid(pid: int, options: int) -> tuple[int, int]:
        if options == 0:  # the event loop's, not that of a Popen
            late.wait()
        return really(pid, options)

    monkeypatch.setattr(os, "waitpid", waitpid)
    if kind is Child:
        child: Child | Program = await Child.start(f"{TARGETS}:echo")
    else:
        child = await Program.start("player", ["play", "--help"], tmp_path / "log")
    pid = child.pid if isinstance(child, Child) else child.process.pid
    os.killpg(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it was killed
    assert child.running
    child.terminate()
    late.set()
    ending = await child.ended()
    assert (ending if isinstance(ending, int) else ending.code) == -signal.SIGKILL


async def test_a_child_that_hears_nothing_is_killed() -> None:
    child = await Child.start(f"{TARGETS}:deaf")
    assert await child.receive() == b"here"
    assert child.running
    assert str(await child.close()) == "it was ended by SIGKILL"


async def test_a_child_whose_parent_hangs_up_ends_by_itself() -> None:
    child = await Child.start(f"{TARGETS}:echo")
    child.hang_up()
    assert (await child.ended()).code == 1


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from rollgym.processes.parent import Child
from rollgym.running.subprocesses import Child as Program
async def main():
    child = await Child.start("tests.processes.targets:deaf")
    await child.receive()
    print(child.pid, flush=True)
    await child.ended()
asyncio.run(main())
"""


async def test_a_child_ends_when_its_parent_is_killed_whatever_it_does() -> None:
    code = PARENT.format(root=str(Path(__file__).parents[2]))
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    watch = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(watch, ended.set)
    try:
        parent.kill()
        await parent.wait()
        await ended.wait()  # the test's time limit is the bound
    finally:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)


def test_a_length_that_no_message_has_is_refused() -> None:
    assert length(framed(b"abc")[:4]) == 3
    with pytest.raises(FramingError, match=f"at most {MAX_MESSAGE}"):
        length(b"\xff\xff\xff\xff")
