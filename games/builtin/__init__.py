"""Our own games: a folder for each, with its rules, its view and its bot."""

from __future__ import annotations
