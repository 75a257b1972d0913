"""What can never change: tuples and frozensets of values that can never change.

Snapshots neither hold nor count them, however many there are: a planner's table of tuples costs a look-up each. Whether
something is of this kind follows from its structure alone, never from what was seen before, because the bytes of a
state must be the same in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from rollgym.games.canonical_bytes import plain_bytes

DEEPEST = 40
"""Tuples nested deeper than this are taken apart like everything else."""

KEPT = 100_000
"""So many are remembered. They are forgotten together: most are of one frame only."""


class Frozen:
    """Knows them, and how they are written."""

    def __init__(self, leaf: Callable[[Any], Callable[[Any], Any] | None]) -> None:
        """``leaf(value)`` is the function that writes an immutable value without parts, None for any other value."""
        self._leaf = leaf
        self._known: dict[int, tuple[Any, list[Any], Any]] = {}
        # By id. The object is kept beside, so that its id stays its own.

    def holds(self, item: Any) -> bool:
        """Whether nothing in a tuple or frozenset can change."""
        return id(item) in self._known or self._learn(item) is not None

    def listed(self, item: Any) -> list[Any] | None:
        """Its type and parts as plain values, None if anything in it may change."""
        known = self._known.get(id(item)) or self._learn(item)
        return None if known is None else known[1]

    def packed(self, item: Any) -> Any | None:
        """The same as one value in bytes that is like no other value."""
        known = self._known.get(id(item)) or self._learn(item)
        return None if known is None else known[2]

    def _learn(self, item: Any) -> tuple[Any, list[Any], Any] | None:
        found = self._write(item, 0)
        if found is None:
            return None
        if len(self._known) >= KEPT:
            self._known.clear()
        try:
            packed = msgpack.packb(found)
        except (OverflowError, ValueError):
            packed = plain_bytes(found)  # integers beyond 64 bits, texts with lone surrogates
        known = self._known[id(item)] = (item, found, msgpack.ExtType(1, packed))
        return known

    def _write(self, item: Any, depth: int) -> list[Any] | None:
        if depth > DEEPEST:
            return None
        parts = []
        for part in item:
            write = self._leaf(part)
            if write is not None:
                parts.append(write(part))
                continue
            if not isinstance(part, tuple | frozenset):
                return None
            inside = self._write(part, depth + 1)
            if inside is None:
                return None
            parts.append(inside)
        if isinstance(item, frozenset):
            parts.sort(key=lambda part: plain_bytes([part]))
        return [type(item).__qualname__, *parts]
