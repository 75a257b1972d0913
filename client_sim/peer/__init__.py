"""The peer of one match, without I/O: packets in, packets out, a clock from outside.

:mod:`~rollgym.client_sim.peer.peer` is its face.
"""

from __future__ import annotations
