"""Matches while they are played: opened, relayed, held for those who come back, ended."""

from __future__ import annotations
