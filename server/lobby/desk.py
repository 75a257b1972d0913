"""The queue of one experiment: who waits for it, and what they are told meanwhile."""

from __future__ import annotations

from rollgym.server.lobby.notices import Notices
from rollgym.server.lobby.queue import Lobby
from rollgym.server.play.experiment import RunningExperiment
from rollgym.server.play.hall import Tell


class Desk:
    """Where clients wait for one experiment. Owned by the event loop."""

    def __init__(self, experiment: RunningExperiment, capacity: int, tell: Tell) -> None:
        """``capacity``: clients that may wait."""
        self.experiment = experiment
        self.lobby = Lobby(len(experiment.game.players), capacity)
        self.notices = Notices(tell)
