"""Pong: rules, view, bot."""

from __future__ import annotations
