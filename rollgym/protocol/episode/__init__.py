"""An episode as it is exported: its fields, their bounds, its digests, and when two say the same."""

from __future__ import annotations
