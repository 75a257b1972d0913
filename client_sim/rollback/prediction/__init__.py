"""Stand-ins for inputs that have not arrived: what a prediction rule is, and the rules that have a name.

A new one is a file here and a line in :mod:`~rollgym.client_sim.rollback.prediction.catalogue`.
"""

from __future__ import annotations
