"""Version numbers that go over the wire and into files."""

from __future__ import annotations

PROTOCOL_VERSION = 2
"""Control messages. Clients and servers of different versions refuse each other."""

PACKET_VERSION = 1
"""Packets. Peers ignore those of another version."""

EPISODE_SCHEMA = 1
"""The episode export and the files made of it."""
