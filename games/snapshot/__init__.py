"""Exact snapshots of any graph of Python objects.

:mod:`~rollgym.games.snapshot.object_graph` walks it; the others know the kinds of objects.
"""

from __future__ import annotations
