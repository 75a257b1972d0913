"""What was taken of an object graph, and its canonical bytes.

Canonical means: attributes by name, dicts in their own order, sets sorted, arrays by dtype, shape and elements, floats
by their bits, and shared objects by number, so that equal structure gives equal bytes.
Left out are resources (only their type counts), classes and functions (only their names), constructor arguments that
are kept for pickling, and texts that an object has had since its construction, which may be paths of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from rollgym.games.canonical_bytes import PRIMITIVES, plain_bytes
from rollgym.games.snapshot.kinds import Kind

if TYPE_CHECKING:
    from rollgym.games.snapshot.object_graph import Copier

_LAST = 1 << 62


class GraphSnapshot:
    """Contents of the objects of one :class:`~rollgym.games.snapshot.object_graph.Copier`.

    Only that copier can load it; it may be loaded many times.
    """

    __slots__ = ("index", "owner", "records", "swaps")

    def __init__(self, owner: Copier) -> None:
        self.owner = owner
        self.records: list[tuple[Any, Kind, Any]] = []
        self.index: dict[int, int] = {}
        """``id`` of an object to its record. The records keep the objects alive, so an id means one object."""
        self.swaps: list[tuple[Any, Any, int]] = []
        """Where an object hangs that can be copied but not written into: holder, key, its record."""


class GraphWriter:
    """Turns the records of a snapshot into plain values; objects are numbered in the order they are first met."""

    def __init__(self, copier: Copier, snapshot: GraphSnapshot) -> None:
        self._copier = copier
        self._snapshot = snapshot
        self._numbers: dict[int, int] = {}
        self._queue: list[Any] = []
        self._inside_set = False
        self.order = copier.order
        self.constant = copier.constant

    @property
    def items(self) -> list[Any]:
        """The objects that were met."""
        return self._queue

    def everything(self) -> bytes:
        """The bytes of all that can be reached from the root."""
        self.ref(self._copier.root)
        return self._rest(0)

    def rank(self, value: Any) -> tuple[int, bytes]:
        """What members of a set are sorted by: their number, or else what can be reached from them."""
        kind = type(value)
        if kind in PRIMITIVES or (kind is tuple and all([type(part) in PRIMITIVES for part in value])):
            return _LAST, plain_bytes([value])
        number = self._numbers.get(id(value))
        if number is not None:
            return number, b""
        if self._inside_set:
            return _LAST, b""  # sets that contain each other's owners: one level tells them apart, or nothing does
        writer = GraphWriter(self._copier, self._snapshot)
        writer._inside_set = True
        first = writer.ref(value)
        return _LAST, plain_bytes([first]) + writer._rest(0)

    def _rest(self, at: int) -> bytes:
        queue, records, index = self._queue, self._snapshot.records, self._snapshot.index
        out: list[Any] = []
        while at < len(queue):
            item, kind, content = records[index[id(queue[at])]]
            out.append(kind.write(item, content, self))
            at += 1
        try:
            packed: bytes = msgpack.packb(out)
        except (OverflowError, ValueError):
            return plain_bytes(out)  # integers beyond 64 bits, texts with lone surrogates
        return packed

    def ref(self, value: Any) -> Any:
        """A value as it is written where it occurs: itself, or the number of its record."""
        writer = self._copier.leaf_writer(type(value))
        if writer is not None:
            return writer(value)
        key = id(value)
        number = self._numbers.get(key)
        if number is None:
            if key not in self._snapshot.index:
                frozen = self._copier.frozen(value)
                if frozen is not None:
                    return frozen
                return ["?", type(value).__qualname__]
            number = self._numbers[key] = len(self._queue)
            self._queue.append(value)
        return [number]
