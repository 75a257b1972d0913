"""A player does nothing."""

from __future__ import annotations

from rollgym.client_sim.rollback.prediction.rule import InputHistory


def default_input(history: InputHistory, frame: int) -> bytes:
    """Always the default input. Right for games of single taps."""
    return history.default
