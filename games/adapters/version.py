"""The version of what adapters make of an environment."""

from __future__ import annotations

ADAPTER_VERSION = 2
"""Counted up when that changes: peers must agree on it, so it is part of the version of every game from elsewhere."""
