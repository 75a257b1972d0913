"""An episode in the terminal, as text: at real speed, step by step, or all at once where there is no terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from rollgym.dataset.playback import Moment, Recording, inputs_text, not_shown, rollback_text
from rollgym.games.contract import Game

FLASH = 0.5
"""Seconds for which a rollback is seen."""
MOST_PER_SECOND = 30
"""Pictures that a terminal draws."""


def look(game: Game) -> str:
    """The present state as text. Raises :class:`PlaybackError` if the game has no text form."""
    text = game.render_text()
    if text is None:
        raise not_shown(game, "it has no text form; try --gif FILE")
    return text


def stride_of(fps: float) -> int:
    """How many frames go by between two pictures."""
    return max(1, math.ceil(fps / MOST_PER_SECOND))


class Screen:
    """Draws moments."""

    def __init__(self, recording: Recording, game: Game) -> None:
        self._recording = recording
        self._game = game

    def panel(self, moment: Moment[str], seen: str, rollbacks: list[str]) -> Panel:
        """What was ``seen`` at a moment. ``rollbacks``: those to be told of."""
        header = self._recording.header
        whose = "" if self._recording.own is None else f", seen by {header.game.players[self._recording.own.player]}"
        lines = [inputs_text(moment, self._game), *(rollbacks or [_state(moment, seen)])]
        body = Text(seen + "\n\n")
        body.append(lines[0] + "\n", style="bold")
        body.append("\n".join(lines[1:]), style="bold red" if rollbacks else "dim")
        title = f"{header.game.id}, episode {header.episode}{whose}, frame {moment.frame} of {header.frames}"
        return Panel(body, title=title, border_style="bold red" if rollbacks else "dim", expand=False)

    def told(self, moment: Moment[str]) -> list[str]:
        """The rollbacks of a moment in words."""
        return [rollback_text(event, self._game) for event in moment.rollbacks]


def _state(moment: Moment[str], seen: str) -> str:
    if seen is moment.truth:
        return ""
    return "a guess, not yet known to be wrong" if moment.exact else "a guess, as far as it is known"


def play(console: Console, screen: Screen, moments: Iterable[Moment[str]], fps: float) -> None:
    """At ``fps`` frames a second; ``moments`` may leave frames out."""
    began = time.monotonic()
    first: int | None = None
    told: list[str] = []
    until = 0.0
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for moment in moments:
            first = moment.frame if first is None else first
            due = (moment.frame - first) / fps
            if moment.rollbacks:
                told, until = screen.told(moment), due + FLASH
            elif due >= until:
                told = []
            late = time.monotonic() - began - due
            if late < 0:
                time.sleep(-late)
            seen = moment.after if moment.rollbacks else moment.before
            live.update(screen.panel(moment, seen, told), refresh=True)


def step(console: Console, screen: Screen, moments: Iterable[Moment[str]], wait: Callable[[], bool]) -> None:
    """Frame by frame; ``wait`` returns whether to go on. At a rollback there are two: before and after."""
    for moment in moments:
        console.print(screen.panel(moment, moment.before, []))
        if moment.rollbacks:
            console.print(screen.panel(moment, moment.after, screen.told(moment)))
        if moment.inputs is not None and not wait():
            return


def list_all(console: Console, screen: Screen, moments: Iterable[Moment[str]]) -> None:
    """Everything, one picture after the other."""
    step(console, screen, moments, lambda: True)
