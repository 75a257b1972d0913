"""Version numbers that go over the wire and into files."""

from __future__ import annotations

PROTOCOL_VERSION = 1
"""Control messages and packets. Peers and server of different versions refuse each other."""

EPISODE_SCHEMA = 1
"""The episode export and the files made of it."""
