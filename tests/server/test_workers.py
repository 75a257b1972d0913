"""The processes that open what clients send."""

from __future__ import annotations

import sys

from rollgym.server import workers
from rollgym.server.workers import Workers


def _limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0]


def _take(size: int) -> str:
    try:
        return f"{len(bytearray(size))} bytes"
    except MemoryError:
        return "refused"


async def test_a_worker_can_not_take_the_machines_memory() -> None:
    pool = Workers(1)
    try:
        if sys.platform == "linux":
            assert await pool.run(_limit) <= workers.MEMORY_BYTES
            assert await pool.run(_take, workers.MEMORY_BYTES) == "refused"
        assert await pool.run(_take, 1 << 20) == "1048576 bytes"
        assert pool.deaths == 0
    finally:
        pool.close()
