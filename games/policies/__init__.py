"""Bots: who decides the input of one player from what it sees.

One file for each kind; :mod:`~rollgym.games.policies.catalogue` names them.
"""

from __future__ import annotations
