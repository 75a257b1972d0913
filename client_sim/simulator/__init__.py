"""Whole matches in virtual time: real peers, a seeded network, no sockets."""

from __future__ import annotations
