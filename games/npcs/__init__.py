"""Agents whose policy is part of the simulation."""

from __future__ import annotations
