"""Environments that were not made for rollback, as games: one file for each family, one for native state."""

from __future__ import annotations

import os

# Otherwise it greets on standard output, where results go.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
