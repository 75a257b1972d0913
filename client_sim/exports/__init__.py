"""Exports on their way to the server: spooled, uploaded, and kept as files of the client's own."""

from __future__ import annotations
