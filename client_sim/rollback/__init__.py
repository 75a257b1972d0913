"""Rollback netcode in plain Python: no I/O, no clock, no logging, no global randomness.

How it works. A frame needs every player's input, but others' inputs arrive late. A :class:`Session` does not wait: it
*predicts* the missing inputs, simulates the frame, and keeps a snapshot. When a real input arrives and differs from the
prediction, the session *rolls back*: it loads the snapshot of that frame and simulates up to the present again. A frame
whose inputs are all real and that was simulated with exactly those is *canonical* and never changes again.

1. Write a simulation: ``step(inputs)``, ``save()``, ``load(snapshot)``, ``digest(snapshot)``, deterministic.
2. Check it with :class:`SyncTest`, which rolls back at every frame.
3. Play it with a :class:`Session`: feed :meth:`Session.add_inputs`, and per tick :meth:`Session.settle` and
   :meth:`Session.step`.

A whole two-player match in one loop, with one session per player and a wire that is three frames late:

>>> from rollgym.client_sim.rollback import SessionProgress, Session, SessionSettings
>>> class Sum:  # a game without end: everybody's inputs are mixed into one number
...     total = 0
...     def step(self, inputs): self.total = self.total * 3 % 97 + sum(i[0] for i in inputs); return self
...     terminal = False
...     def save(self): return self.total
...     def load(self, snapshot): self.total = snapshot
...     def digest(self, snapshot): return snapshot
>>> def play(frames=100, late=3):
...     settings = SessionSettings(input_delay=0, max_prediction=8)
...     games = [Sum(), Sum()]
...     sessions = [Session(games[p], [b"\\0", b"\\0"], [p], settings) for p in (0, 1)]
...     for tick in range(frames):
...         for p, session in enumerate(sessions):
...             if tick >= late:  # what the other one decided `late` ticks ago arrives
...                 session.add_inputs(1 - p, tick - late, [bytes([(tick - late) * (2 - p) % 5])])
...             if session.settle() is SessionProgress.READY:
...                 session.step([bytes([tick * (p + 1) % 5])])
...     return sessions
>>> one, two = play()
>>> one.canonical == two.canonical == 97, one.stats.rollbacks > 50, one.checksums.newest == two.checksums.newest
(True, True, True)

Further: :mod:`~rollgym.client_sim.rollback.session` explains the order of a tick,
:mod:`~rollgym.client_sim.rollback.prediction` where a prediction rule goes,
:mod:`~rollgym.client_sim.rollback.spectator` spectators and replays,
:mod:`~rollgym.client_sim.rollback.time_sync` how two peers stay level.
"""

from __future__ import annotations

from rollgym.client_sim.rollback.checksums import Desync
from rollgym.client_sim.rollback.errors import RollbackError
from rollgym.client_sim.rollback.interfaces import JointInput, Recorder, Rollback, Simulation
from rollgym.client_sim.rollback.prediction.catalogue import PREDICTORS
from rollgym.client_sim.rollback.prediction.default_input import default_input
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import InputHistory, Predictor
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings
from rollgym.client_sim.rollback.spectator import Spectator, replay
from rollgym.client_sim.rollback.synctest import SyncTest

__all__ = [
    "Session",
    "SessionSettings",
    "SessionProgress",
    "Simulation",
    "JointInput",
    "Recorder",
    "Rollback",
    "Predictor",
    "InputHistory",
    "PREDICTORS",
    "repeat_last",
    "default_input",
    "SyncTest",
    "SyncTestFailed",
    "Spectator",
    "replay",
    "Desync",
    "RollbackError",
]
