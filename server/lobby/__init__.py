"""Who waits, who is paired with whom, and what those who wait are told."""

from __future__ import annotations
