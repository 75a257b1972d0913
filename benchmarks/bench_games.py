"""What every installed game costs, beside what it would cost to copy environments the naive way.

``--docs`` writes the table into docs/environments.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure, Report, at_most, describe_machine, figure, main, number
from rollgym.checking.cost import Cost, measure
from rollgym.checking.trace import record
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import available, make

DOCUMENT = Path(__file__).parent.parent / "docs" / "environments.md"
BEGIN, END = "<!-- table: python -m benchmarks.bench_games --docs -->", "<!-- end of table -->"

NOTES = """
Microseconds. Rollback: a load, then eight times step and save. Window: frames that can be rolled back within one frame
at the game's own rate, beside that frame's own step, save, digest and observations. Digest: canonical bytes and hash.

Naive: copy.deepcopy of the environment, in a process of its own. Fresh: the copy is a new environment, or goes on
differently; error: it raises; crash: the process died.
"""


def run(quick: bool) -> Report:
    """Measure."""
    figures: list[Figure] = []
    for game_id in installed():
        cost = cost_of(game_id, 10 if quick else 200)
        copied = "" if quick else f"; naive copy: {naive(game_id)}"
        target = at_most(cost.rollback_8, 33_000) if game_id == "overcooked" else None
        note = f"step {number(cost.step)}, save {number(cost.save)}, load {number(cost.load)}{copied}"
        figures.append(figure(f"{game_id}, rollback of 8", cost.rollback_8, "us", target, note))
        figures.append(figure(f"{game_id}, largest window", cost.window, "frames"))
    return Report("Games", figures, NOTES)


def installed() -> list[str]:
    """All games that can be made by name here."""
    return [entry.id for entry in available() if entry.installed]


def cost_of(game_id: str, frames: int, rounds: int = 3) -> Cost:
    """The quickest of a few measurements."""
    game = make(game_id)
    try:
        bots = [make_policy("random", game.spec, player, player + 1) for player in range(game.spec.players)]
        traces = [record(game, bots, seed, frames) for seed in range(8)]
        longest = max(traces, key=lambda trace: len(trace.inputs))
        # Processor time: others may be at work on the machine.
        costs = [measure(game, longest, game.spec.fps, time.process_time) for _ in range(rounds)]
        return min(costs, key=lambda cost: cost.rollback_8)
    finally:
        game.close()


def naive(game_id: str) -> str:
    """What a deep copy costs, or what comes of it."""
    if game_id not in SHELF:
        return "-"
    done = subprocess.run([sys.executable, "-m", "benchmarks.naive_copy", game_id], capture_output=True, text=True)
    if done.returncode < 0:
        return "crash"
    if done.returncode:
        return "error"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return number(found["microseconds"]) if found["exact"] else "fresh"


def table() -> str:
    """The table of docs/environments.md."""
    rows = ["| game | step | save | load | digest | state bytes | rollback of 8 | fps | largest window | naive copy |"]
    rows.append("|---" * 10 + "|")
    for game_id in installed():
        cost, fps = cost_of(game_id, 200), make(game_id).spec.fps
        cells = [
            f"`{game_id}`",
            *(number(value) for value in (cost.step, cost.save, cost.load, cost.digest)),
            f"{cost.state_bytes:,}",
            number(cost.rollback_8),
            str(fps),
            f"{cost.window:,}",
            naive(game_id),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    machine = describe_machine(0.0)
    return "\n".join([*rows, "", f"{machine.processor}, one core, shared; {machine.python}."])


def write_docs() -> None:
    """Put a new table between the marks in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    if "--docs" in sys.argv[1:]:
        write_docs()
        sys.exit()
    sys.exit(main(run))
