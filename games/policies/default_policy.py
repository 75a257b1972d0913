"""Which policy plays a game if nobody says."""

from __future__ import annotations

_DEFAULTS = {
    "pong": "tracker",
    "kitchen": "cook",
    "overcooked": "chef",
    "tictactoe": "random_legal",
    "connect_four": "random_legal",
    "hanabi": "random_legal",
    "openspiel": "random_legal",
}


def default_policy(game_id: str) -> str:
    """A policy that plays the game actively."""
    return _DEFAULTS.get(game_id, "random_hold")
