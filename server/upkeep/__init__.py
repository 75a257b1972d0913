"""A data folder between runs: brought together, checked, made anew, looked through."""

from __future__ import annotations
