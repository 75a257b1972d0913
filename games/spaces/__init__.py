"""Spaces and what is in them: described, as bytes, as flat rows, cast without a change of value."""

from __future__ import annotations
