"""How packets travel between peers: each transport delivers datagrams, and none of them blocks the sender."""

from __future__ import annotations
