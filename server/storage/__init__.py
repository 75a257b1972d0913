"""What the server keeps: the catalogue, a row for each fact, and the store of episode files."""

from __future__ import annotations
