"""The processes that open what clients send and play what they played."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from rollgym.processes import workers as module
from rollgym.processes.workers import (
    OutOfMemoryError,
    OverdueError,
    WorkerDiedError,
    Workers,
    machine_memory,
)
from rollgym.server.errors import RefusedError
from rollgym.server.record.judging import WORK
from tests.server import work

WAIT = 60.0
# Seconds until a test that waits for something that never comes gives up.


@asynccontextmanager
async def pool(processes: int = 1, **bounds: Any) -> AsyncIterator[Workers]:
    workers = Workers(processes, **bounds)
    try:
        async with asyncio.timeout(WAIT):
            yield workers
    finally:
        await asyncio.to_thread(workers.close)


def _refuse() -> None:
    raise RefusedError(413, "too_large", "more than it may be", field="body", expected=1, actual=2)


async def test_work_is_done_and_what_it_raises_is_raised_here() -> None:
    async with pool() as workers:
        assert await workers.run(work.square, 7) == 49
        with pytest.raises(RefusedError, match="too_large") as caught:
            await workers.run(_refuse)
        assert (caught.value.status, caught.value.reply.actual) == (413, 2)
        assert workers.deaths == 0
        assert workers.health() is None
    assert workers.health() is not None
    with pytest.raises(WorkerDiedError, match="stopping"):
        await workers.run(work.square, 7)


@pytest.mark.parametrize(
    ("raiser", "words"),
    [
        (work.raise_strange, "StrangeError: of a game"),
        (work.raise_holding_strange, "ValueError"),
        (work.return_strange, "is not ours"),
        (work.leave, "SystemExit: 3"),
    ],
)
async def test_what_belongs_to_others_comes_back_as_text(raiser: Callable[[], Any], words: str) -> None:
    async with pool() as workers:
        process = await workers.run(os.getpid)
        with pytest.raises(Exception, match=words) as caught:
            await workers.run(raiser)
        assert not isinstance(caught.value, work.StrangeError)
        assert raiser.__name__ in "".join(caught.value.__notes__) or raiser is work.return_strange
        assert await workers.run(os.getpid) == process  # it is no worse for it


async def test_a_worker_that_dies_is_replaced_and_its_work_tried_once_more(tmp_path: Path) -> None:
    async with pool() as workers:
        assert await workers.run(work.die, str(tmp_path / "died")) == "alive"
        assert workers.deaths == 1
        with pytest.raises(WorkerDiedError, match=r"2 workers died of it: it was ended by SIGKILL: about to die"):
            await workers.run(work.die)
        assert workers.deaths == 3
        assert "died" in str(workers.health())
        assert await workers.run(work.square, 3) == 9
        assert workers.health() is None


@pytest.mark.parametrize("hang", [work.hang, work.ignore_and_hang])
async def test_work_over_its_deadline_is_ended_once_and_others_go_on(
    tmp_path: Path, hang: Callable[[str], None]
) -> None:
    async with pool(2, seconds=WAIT) as workers:
        await workers.start(*WORK)
        stuck = asyncio.create_task(workers.run_within(0.2, hang, str(tmp_path / "pid")))
        for value in range(20):
            assert await workers.run(work.square, value) == value * value
        with pytest.raises(OverdueError, match=r"took longer than 0\.2 seconds"):
            await stuck
        if (tmp_path / "pid").exists():  # a busy machine may end it before it has said so
            with pytest.raises(ProcessLookupError):
                os.kill(int((tmp_path / "pid").read_text()), 0)
        assert (workers.killed, workers.deaths) == (1, 0)
        assert await asyncio.gather(*(workers.run(work.square, value) for value in range(4))) == [0, 1, 4, 9]


async def test_whoever_does_not_wait_any_more_does_not_keep_a_worker(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with pool() as workers:
        await workers.start(*WORK)
        stuck = asyncio.create_task(workers.run(work.hang, str(marker)))
        while not (marker.exists() and marker.read_text()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        stuck.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stuck
        assert await workers.run(work.square, 5) == 25


async def test_the_time_in_the_queue_does_not_count(tmp_path: Path) -> None:
    """Work that waits for a stuck one is not overdue itself."""
    async with pool() as workers:
        await workers.start(*WORK)
        stuck = asyncio.create_task(workers.run_within(1.0, work.hang, str(tmp_path / "pid")))
        await asyncio.sleep(0)
        others = [asyncio.create_task(workers.run_within(WAIT, work.square, value)) for value in range(3)]
        with pytest.raises(OverdueError):
            await stuck
        assert await asyncio.gather(*others) == [0, 1, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such bound")
async def test_a_worker_cannot_take_more_memory_than_it_may_and_says_which_setting_that_is() -> None:
    async with pool(memory=1.5) as workers:
        process = await workers.run(os.getpid)
        assert await workers.run(work.take, 1) == "1048576 bytes"
        with pytest.raises(OutOfMemoryError, match=r"ran out of the 1\.5 GiB that server\.worker_memory allows"):
            await workers.run(work.take, 2000)
        assert workers.deaths == 0
        assert await workers.run(work.take, 1) == "1048576 bytes"
        assert await workers.run(os.getpid) != process  # nobody knows what the other still holds on to
    found = machine_memory()
    assert found is not None
    assert found > 0.1


async def test_what_games_print_is_in_the_log_and_bounded() -> None:
    with structlog.testing.capture_logs() as logs:
        async with pool() as workers:
            await workers.run(work.chatter, module.PRINTED + 50)
            await workers.run(work.chatter, 2)
            assert await workers.run(work.square, 2) == 4
    texts = [entry["text"] for entry in logs if entry["event"] == "worker_printed"]
    assert texts[:2] == ["line 0", "line 1"]
    assert len([text for text in texts if text.startswith("line")]) <= module.PRINTED + 2
    assert any("left out" in text for text in texts)


async def test_a_game_may_use_signals_and_event_loops() -> None:
    async with pool() as workers:
        assert await workers.run(work.event_loop)


async def test_no_process_to_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any, **__: Any) -> Any:
        raise OSError(11, "Resource temporarily unavailable")

    async with pool() as workers:
        with monkeypatch.context() as patch:
            patch.setattr("rollgym.processes.workers.Child.start", none)
            with pytest.raises(WorkerDiedError, match="no worker can be started"):
                await workers.run(work.square, 2)
            assert "no worker can be started" in str(workers.health())
        assert await workers.run(work.square, 2) == 4
        assert workers.health() is None


async def test_no_deadline_counts_what_a_process_needs_to_come_up() -> None:
    async with pool(2, seconds=0.001) as workers:
        await workers.start(*WORK)  # each imports for a second
        assert workers.killed == 0
        with pytest.raises(OverdueError):
            await workers.run(work.hang, os.devnull)
        await asyncio.gather(*(workers.run_within(0.001, work.die) for _ in range(2)), return_exceptions=True)
        # New ones, which would be overdue if their imports counted.
        assert await workers.run_within(WAIT, _imported) is True


def _imported() -> bool:
    return "rollgym.server.record.verdicts" in sys.modules


async def test_whoever_waits_when_the_pool_is_closed_hears_so() -> None:
    workers = Workers(1)
    async with asyncio.timeout(WAIT):
        waiting = [asyncio.create_task(workers.run(work.hang, os.devnull)) for _ in range(3)]
        while not workers.health() and not workers._all:  # noqa: ASYNC110 - its thread starts it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(workers.close)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["the server is stopping"] * 3


def test_what_is_imported_before_work_comes_is_all_that_arrow_looks_for() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {WORK!r}: importlib.import_module(name)\n"
        "before = set(sys.modules)\n"
        "import numpy, pyarrow; pyarrow.array(numpy.zeros(2)); pyarrow.array(['a']).to_numpy(zero_copy_only=False)\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
