"""Episode files: Parquet, written durably, and what their metadata say."""

from __future__ import annotations
