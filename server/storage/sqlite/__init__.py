"""The embedded catalogue: one SQLite file in the data folder. Nothing outside this room knows that it is SQLite."""

from __future__ import annotations
