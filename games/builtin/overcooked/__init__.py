"""Overcooked: the rules of the ``cogrid`` package, and a bot."""

from __future__ import annotations
