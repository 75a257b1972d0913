"""What ``rollgym run`` shows while it plays: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rollgym.running.subprocesses import Event

LINE_EVERY = 5.0
"""Seconds between lines where there is no terminal."""


class ProgressDisplay:
    """Shows the newest state of every peer. Use as a context."""

    def __init__(
        self, console: Console, seats: int, episodes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._episodes = episodes
        self._clock = clock
        self._states: list[Event | None] = [None] * seats
        self._next_line = clock() + LINE_EVERY
        self._verdicts: set[int] = set()
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def hear(self, seat: int, event: Event) -> None:
        """Take in an event of a peer."""
        name = event["event"]
        if name == "progress":
            self._states[seat] = event
            self._show()
        elif name == "paired" and seat == 0:
            self._say(f"playing match {event['match']}, seed {event['seed']}")
        elif name == "verdict" and event["episode"] not in self._verdicts:
            self._verdicts.add(event["episode"])
            self._say(f"episode {event['episode'] + 1}/{self._episodes}: {event['verdict']} {event['detail']}".rstrip())
        elif name == "desync_found":
            self._say(f"peer {seat}: states differ at frame {event['frame']} of episode {event['episode'] + 1}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self._table())
        elif self._clock() >= self._next_line and self._states[0] is not None:
            self._next_line = self._clock() + LINE_EVERY
            fields = _fields(self._states[0], self._episodes)
            self._say("  ".join(f"{name} {value}" for name, value in fields.items()))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        rows = [_fields(state, self._episodes) for state in self._states if state is not None]
        for name in ["peer", *(rows[0] if rows else ())]:
            table.add_column(name, justify="right")
        for seat, row in enumerate(rows):
            table.add_row(str(seat), *row.values())
        return table


def _fields(state: Event, episodes: int) -> dict[str, str]:
    rtt: Any = state.get("rtt")
    known = isinstance(rtt, float) and rtt == rtt
    return {
        "episode": f"{state['episode'] + 1}/{episodes}",
        "frame": str(state["frame"]),
        "confirmed": str(state.get("confirmed_frames", 0)),
        "rollbacks": str(state.get("rollbacks", 0)),
        "deepest": str(state.get("rollback_depth_max", 0)),
        "stalls": str(state.get("stalls", 0)),
        "rtt": f"{1000 * rtt:.0f} ms" if known else "-",
    }
