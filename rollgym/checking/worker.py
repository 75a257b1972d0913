"""The process in which ``rollgym check`` runs a game: the same kind in which it runs when it is played.

A plain main thread without an event loop. The clock and the rest of its surroundings are exchanged before anything of
the game is imported.
"""

from __future__ import annotations

import json

from rollgym.checking.surroundings import REAL, install
from rollgym.processes.channel import Channel

NEWS = 0.3
"""Seconds between two messages about how far it has got. That something else is being done is told at once."""


def work(channel: Channel) -> None:
    """Check what the first message asks for. Everything that is found out is told, the report at the end."""
    install()
    import msgspec

    from rollgym.checking.safety import check
    from rollgym.games.description import Refusal
    from rollgym.games.errors import GameError

    asked = channel.receive()
    assert asked is not None
    request = json.loads(asked)
    told, topic = -NEWS, ""

    def tell(kind: str, value: object) -> None:
        channel.send(msgspec.json.encode([kind, value]))

    def doing(what: str) -> None:
        nonlocal told, topic
        now, about = REAL["monotonic"](), what.partition(",")[0]
        if now - told >= NEWS or about != topic:
            told, topic = now, about
            tell("doing", what)

    try:
        report = check(
            request.pop("game"),
            request.pop("parameters"),
            said=lambda found: tell("said", found),
            doing=doing,
            **request,
        )
    except GameError as error:
        tell("refused", Refusal.of(error))
    else:
        tell("report", report)
