"""The same episodes in a process of their own: ``python -m rollgym.checking.other_process``, a request on stdin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rollgym.checking.trace import Shown, Trace, flat, replay, text

_MARK = "rollgym-check:"
"""Before the answer: environments print what they like."""


class ProcessFailed(Exception):
    """The other process did not answer. The text is what it said last."""


class OtherProcess:
    """A running process that plays traces again."""

    def __init__(
        self, game: str, parameters: Mapping[str, Any], traces: list[Trace], hash_seed: int, fields_at: tuple[int, int]
    ) -> None:
        """``fields_at`` is the trace and the row whose state's fields are wanted; (-1, 0) for none."""
        request = {
            "game": game,
            "parameters": dict(parameters),
            "traces": [[trace.seed, [[part.hex() for part in joint] for joint in trace.inputs]] for trace in traces],
            "fields_at": fields_at,
            "path": sys.path,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rollgym.checking.other_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request))
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it is gone; answer() says why
        self._process.stdin = None

    def answer(self) -> tuple[list[list[Shown]], dict[str, str]]:
        """What every frame of every trace showed, and the fields asked for. Raises :class:`ProcessFailed`."""
        out, err = self._process.communicate()
        lines = [line for line in out.splitlines() if line.startswith(_MARK)]
        if self._process.returncode or not lines:
            raise ProcessFailed((err.strip().splitlines() or ["no answer"])[-1])
        answer = json.loads(lines[-1][len(_MARK) :])
        shown = [[_shown(row) for row in rows] for rows in answer["shown"]]
        return shown, answer["fields"]


def _shown(row: list[Any]) -> Shown:
    return Shown(row[0], *map(tuple, row[1:]))


def _main() -> None:
    request = json.load(sys.stdin)
    from rollgym.games.registry import make

    game = make(request["game"], request["parameters"])
    wanted, at = request["fields_at"]
    shown, fields = [], {}
    for number, (seed, inputs) in enumerate(request["traces"]):
        trace = Trace(seed, [tuple(bytes.fromhex(part) for part in joint) for joint in inputs])
        rows = []
        for row, seen in enumerate(replay(game, trace)):
            rows.append(seen)
            if (number, row) == (wanted, at):
                fields = {path: text(value) for path, value in flat(game.state_fields(game.save())).items()}
        shown.append(rows)
    print(f"\n{_MARK}{json.dumps({'shown': shown, 'fields': fields})}")


if __name__ == "__main__":
    _main()
