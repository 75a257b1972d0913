"""The test suite: one folder an area."""

from __future__ import annotations
