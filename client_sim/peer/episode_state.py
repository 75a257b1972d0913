"""Where an episode stands, and what it can become."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from rollgym.client_sim.rollback.errors import InvariantViolation


class State(Enum):
    """Where an episode stands."""

    PLAYING = "playing"
    TERMINAL = "terminal, but speculative"
    """The newest frame ended it, for all that is known; not canonical yet."""
    OVER = "over"
    """The last frame is canonical: the terminal one, or the last one that survivors of a departure agreed on."""
    FAILED = "failed"
    """The game, the input source or the recorder raised."""
    ABORTED = "aborted"
    """It was ended before its time."""


_PLAYING, _TERMINAL, _OVER, _FAILED, _ABORTED = State

TRANSITIONS: Mapping[State, tuple[State, ...]] = {
    _PLAYING: (_PLAYING, _TERMINAL, _OVER, _FAILED, _ABORTED),
    _TERMINAL: (_PLAYING, _TERMINAL, _OVER, _FAILED, _ABORTED),
    _OVER: (_FAILED,),
    _FAILED: (),
    _ABORTED: (_FAILED,),
}


class EpisodeClosed(InvariantViolation):
    """A call that the episode's state does not allow: a defect of the caller. Nothing has changed."""
