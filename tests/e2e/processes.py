"""A server and peers as processes of their own, the real commands, with what they say and log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals
from typing import Any

from rollgym.running.subprocesses import Child, Event
from tests.patience import PATIENCE

WAIT = PATIENCE


class Process:
    """One ``rollgym`` command and every event it told."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.jsonl"
        self.events: list[Event] = []
        self.child: Child
        self._news = asyncio.Event()

    async def start(self, *arguments: object) -> None:
        self.child = await Child.start(self.name, [*map(str, arguments)], self.log, self._heard)

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def told(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Until something holds of what was told. Fails if the process ends before."""
        async with asyncio.timeout(WAIT):
            while not condition():
                self._news.clear()
                if not self.child.running:
                    raise AssertionError(f"{self.name} ended: {self.log.read_text()[-3000:]}")
                await self._news.wait()

    async def first(self, name: str) -> Event:
        """The first event of a name."""
        await self.until(lambda: self.told(name))
        return self.told(name)[0]

    def signal(self, number: Signals) -> None:
        """To the process itself; not to what it started."""
        if self.child.running:
            os.kill(self.child.process.pid, number)

    def signal_player(self, number: Signals) -> None:
        """To the player process that it started, if there is one."""
        for player in self.player_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(player, number)

    def player_processes(self) -> list[int]:
        """Their process ids."""
        try:
            children = Path(f"/proc/{self.child.process.pid}/task/{self.child.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(pid) for pid in children.split()]

    async def ended(self) -> int:
        async with asyncio.timeout(WAIT):
            return await self.child.ended()

    def logged(self) -> list[dict[str, Any]]:
        """Its log. A process that was killed may have left half a last line."""
        lines = []
        for line in self.log.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines


@asynccontextmanager
async def ending(*processes: Process) -> AsyncIterator[None]:
    """At the end nothing is left of these, whatever happened."""
    try:
        yield
    finally:
        for process in processes:
            if hasattr(process, "child"):
                process.signal(Signals.SIGCONT)
                await process.child.kill()


async def start_server(server: Process, config: Path, data: Path, port: int = 0, *more: str) -> str:
    """Start a server and return its URL."""
    await server.start("serve", config, "--data", data, "--port", port, *more)
    return str((await server.first("ready"))["url"])


async def start_peer(peer: Process, config: Path, seat: int, url: str, spool: Path, keep: Path | None = None) -> None:
    """Start a peer and let it join."""
    kept = [] if keep is None else ["--keep", keep]
    await peer.start("play", "--url", "told", "--config", config, "--seat", seat, "--spool", spool, *kept)
    peer.child.tell(url)
