"""``python -m tests.games.first_frames GAME POLICY``: what happens in the first frames of a match that would not happen
later. Two peers play face to face, with rollbacks; what is imported, opened, compiled or loaded from the moment the
match is prepared is printed as JSON, and how many calls each of the game's first frames makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from benchmarks.matches import FaceToFace, starts_of
from rollgym.games.contract import Game
from rollgym.games.registry import make
from rollgym.protocol.messages import PlaySettings

NOTED = ("compile", "ctypes.dlopen", "exec", "import", "open", "subprocess.Popen")
FRAMES = 8
TICKS = 40
"""Each frame takes the peers two."""


def unexpected(game_id: str, policy: str) -> list[str]:
    """What a match of two peers imports, opens, compiles or loads in its first frames."""
    events: list[str] = []
    listening = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event in NOTED:
            events.append(f"{event} {arguments[0]!s:.80}")

    sys.addaudithook(hook)
    settings = PlaySettings(episodes=1, fps=30.0, frame_limit=60, input_delay=0, max_prediction=8)
    match = FaceToFace(starts_of(settings), game_id, (policy, policy), lag=2)
    modules = set(sys.modules)
    listening = True
    for _ in range(TICKS):
        match.tick()
    listening = False
    events += [f"module {name}" for name in sorted(sys.modules.keys() - modules)]
    if not any(peer.stats["rollbacks"] for peer in match.peers):
        events.append("nothing was rolled back")
    return events


def calls(game: Game) -> list[int]:
    """How many functions each of the first frames calls when everybody does nothing."""
    game.reset(1)
    return [_counted(lambda: _frame(game)) for _ in range(FRAMES)]


def _frame(game: Game) -> None:
    game.step(game.spec.default_inputs)
    snapshot = game.save()
    game.state_bytes(snapshot)
    game.observe()
    game.load(snapshot)


def _counted(work: Callable[[], None]) -> int:
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


if __name__ == "__main__":
    name, bot = sys.argv[1:]
    print(json.dumps({"unexpected": unexpected(name, bot), "calls": calls(make(name))}))
