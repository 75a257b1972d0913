"""Experiment files: what they may say, where they are, and where in them a mistake is."""

from __future__ import annotations
