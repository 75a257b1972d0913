"""Drift, the reference game."""

from __future__ import annotations
