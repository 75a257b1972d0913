"""Stored episodes in the forms that other tools read: CSV, flat Parquet, Minari."""

from __future__ import annotations
