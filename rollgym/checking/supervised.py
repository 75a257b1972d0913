"""A check in a process of its own: whatever the game does to that process, there is a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from rollgym.checking import beyond
from rollgym.checking.apart import Apart
from rollgym.checking.report import UNCHECKED, UNSAFE, Check, Finding, Report, as_finding
from rollgym.checking.surroundings import Surroundings, environment
from rollgym.games.description import Refusal
from rollgym.processes.channel import ChannelClosed

SILENCE = 3.0
"""Seconds after which it is said what is going on."""


def supervised(
    game_id: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    policies: Sequence[str] = (),
    frames: int = 300,
    window: int = 8,
    seed: int = 0,
    fps: float | None = None,
    said: Callable[[Check], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
    silence: float = SILENCE,
) -> Report:
    """:func:`~rollgym.checking.safety.check` in a child process. ``progress`` hears what is going on after ``silence``
    seconds without a word, and again and again.

    Raises :class:`~rollgym.games.errors.GameError` as that does. A game that ends its process could not be checked, or
    is not safe if it had been played before.
    """
    apart = Apart("rollgym.checking.worker:work", environment(Surroundings()))
    try:
        request = {
            "game": game_id,
            "parameters": dict(parameters or {}),
            "policies": list(policies),
            "frames": frames,
            "window": window,
            "seed": seed,
            "fps": fps,
        }
        apart.send(json.dumps(request).encode())
        return _Listener(game_id, apart, said, progress, silence).listen()
    finally:
        apart.close()


class _Listener:
    def __init__(
        self,
        game_id: str,
        apart: Apart,
        said: Callable[[Check], None],
        progress: Callable[[str], None],
        silence: float,
    ) -> None:
        self._id, self._apart, self._said, self._progress, self._silence = game_id, apart, said, progress, silence
        self._doing = "starting"
        self._checks: list[Check] = []
        self._began = self._spoke = time.monotonic()

    def listen(self) -> Report:
        """Until there is a report."""
        while True:
            try:
                message = self._apart.receive(self._silence)
            except ChannelClosed:
                return self._died()
            if message is None:
                self._speak()
                continue
            kind, value = msgspec.json.decode(message)
            if kind == "doing":
                self._doing = value
                if time.monotonic() - self._spoke >= self._silence:
                    self._speak()
            elif kind == "said":
                found = msgspec.convert(value, Check)
                self._checks.append(found)
                self._spoke = time.monotonic()
                self._said(found)
            elif kind == "refused":
                raise msgspec.convert(value, Refusal).error()
            else:
                report = msgspec.convert(value, Report)
                more = beyond.printed(self._apart.printed())
                return msgspec.structs.replace(report, findings=[*report.findings, *more])

    def _speak(self) -> None:
        self._spoke = time.monotonic()
        self._progress(f"{self._doing} ({self._spoke - self._began:.0f} s)")

    def _died(self) -> Report:
        ending = self._apart.ending()
        last = f"; it said last: {ending.tail[-1]}" if ending.tail else ""
        text = f"its process died while {self._doing}: {ending}{last}"
        if not self._checks:
            finding = Finding("died", "unchecked", text, "run it by itself, in plain Python, to see more")
            return Report(self._id, UNCHECKED, [], [finding])
        found = Check("plays", False, text, code="died")
        self._said(found)
        checks = [*self._checks, found]
        return Report(self._id, UNSAFE, checks, [as_finding(check) for check in checks if not check.ok])
