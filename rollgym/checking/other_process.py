"""The same episodes in a process of its own, in surroundings that are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rollgym.checking.apart import Apart
from rollgym.checking.surroundings import Surroundings, environment, install
from rollgym.processes.channel import Channel, ChannelClosed

if TYPE_CHECKING:
    from rollgym.checking.trace import Shown, Trace


class ProcessFailed(Exception):
    """The other process did not answer. The text is what it said last."""


class Answer:
    """What every frame of every trace showed there, the fields asked for, and what was noticed."""

    def __init__(self, shown: list[list[Shown]], fields: dict[str, str], places: dict[str, list[str]]) -> None:
        self.shown, self.fields, self.places = shown, fields, places


class OtherProcess:
    """A running process that plays traces again."""

    def __init__(
        self,
        game: str,
        parameters: Mapping[str, Any],
        traces: list[Trace],
        surroundings: Surroundings,
        fields_at: tuple[int, int] = (-1, 0),
    ) -> None:
        """``fields_at`` is the trace and the row whose state's fields are wanted; (-1, 0) for none."""
        request = {
            "game": game,
            "parameters": dict(parameters),
            "traces": [[trace.seed, [[part.hex() for part in joint] for joint in trace.inputs]] for trace in traces],
            "fields_at": fields_at,
            "surroundings": surroundings,
        }
        self._apart = Apart("rollgym.checking.other_process:answer", environment(surroundings))
        self._apart.send(json.dumps(request).encode())

    def answer(self) -> Answer:
        """Wait for it. Raises :class:`ProcessFailed`."""
        from rollgym.checking.trace import Shown

        try:
            message = self._apart.receive()
        except ChannelClosed:
            ending = self._apart.ending()
            said = ending.tail[-1] if ending.tail else str(ending)
            raise ProcessFailed(f"{said} ({ending})" if ending.code < 0 else said) from None
        assert message is not None
        found = json.loads(message)
        shown = [[Shown(row[0], *map(tuple, row[1:])) for row in rows] for rows in found["shown"]]
        return Answer(shown, found["fields"], found["places"])

    def close(self) -> None:
        """End it."""
        self._apart.close()


def answer(channel: Channel) -> None:
    """What that process does. The game is imported after the clock and the rest have been exchanged."""
    install()
    from rollgym.checking.process_side_effects import surrounded
    from rollgym.checking.surroundings import places
    from rollgym.checking.trace import Trace, flat, replay, text
    from rollgym.games.registry import make

    asked = channel.receive()
    assert asked is not None
    request = json.loads(asked)
    given = request["surroundings"]
    surroundings = Surroundings(tuple(given[0]), *given[1:])
    with surrounded(surroundings):
        game = make(request["game"], request["parameters"])
    wanted, at = request["fields_at"]
    shown, fields = [], {}
    for number, (seed, inputs) in enumerate(request["traces"]):
        trace = Trace(seed, [tuple(bytes.fromhex(part) for part in joint) for joint in inputs])
        rows = []
        with surrounded(surroundings):
            for row, seen in enumerate(replay(game, trace)):
                rows.append(seen)
                if (number, row) == (wanted, at):
                    fields = {path: text(value) for path, value in flat(game.state_fields(game.save())).items()}
        shown.append(rows)
    noticed = {kind: places(kind) for kind in ("clock", "entropy", "process")}
    channel.send(json.dumps({"shown": shown, "fields": fields, "places": noticed}).encode())
