"""Repeat what a player did last."""

from __future__ import annotations

from rollgym.client_sim.rollback.prediction.rule import InputHistory


def repeat_last(history: InputHistory, frame: int) -> bytes:
    """The newest confirmed input; the default before there is one. Right for held buttons."""
    return history.newest
