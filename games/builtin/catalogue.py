"""The built-in games, one entry each: all that is named outside of a game's own folder.

The registry, the ids for gymnasium and the bots that play if nobody is named follow from it. Nothing is imported until
a game is made.
"""

from __future__ import annotations

from typing import NamedTuple


class BuiltIn(NamedTuple):
    """One built-in game."""

    place: str
    """``module:class``. The class is called with the parameters; ``PARAMETERS`` of the module declares them."""
    summary: str
    policy: str | None = None
    """The policy that plays it actively, if nobody names one. None: the one that plays any game."""
    extra: str | None = None
    """The optional dependency group that brings it, or None if it is always there."""
    needs: str | None = None
    """The top-level module that the extra brings."""


BUILT_IN: dict[str, BuiltIn] = {
    "drift": BuiltIn(
        "rollgym.games.builtin.drift.rules:Drift",
        "two drifting bodies with published checksums: the reference game",
    ),
    "pong": BuiltIn(
        "rollgym.games.builtin.pong.rules:Pong",
        "two paddles and a ball, first to N points",
        policy="tracker",
    ),
    "kitchen": BuiltIn(
        "rollgym.games.builtin.kitchen.rules:Kitchen",
        "two or three cooks make onion soup together, room for an NPC",
        policy="cook",
    ),
    "overcooked": BuiltIn(
        "rollgym.games.builtin.overcooked.rules:Overcooked",
        "two cooks share a kitchen (cogrid)",
        policy="chef",
        extra="overcooked",
        needs="cogrid",
    ),
}


def gymnasium_ids() -> dict[str, str]:
    """The ids under which gymnasium knows the games that are always there, each with the game's own."""
    always = [game_id for game_id, entry in BUILT_IN.items() if entry.needs is None]
    return {f"rollgym/{game_id.title().replace('_', '')}-v0": game_id for game_id in always}
