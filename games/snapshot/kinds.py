"""What a way to save objects of one kind consists of: the hands of :mod:`rollgym.games.snapshot.object_graph`.

The kinds themselves are here (values, C objects that can say what they hold), in :mod:`rollgym.games.snapshot.objects`,
:mod:`rollgym.games.snapshot.containers` and :mod:`rollgym.games.snapshot.gym_spaces`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from rollgym.games.canonical_bytes import plain_bytes

Leaves = dict[type, Callable[[Any], Any]]


class Writer(Protocol):
    """What kinds need for writing: see :class:`rollgym.games.snapshot.object_graph.Copier`."""

    def ref(self, value: Any) -> Any:
        """A part as it is written where it occurs: itself, or the number of the object that it is."""

    def rank(self, value: Any) -> Any:
        """What members of a set are sorted by."""

    def order(self, names: tuple[Any, ...]) -> list[Any]:
        """Attribute names, sorted."""

    def constant(self, item: Any) -> Any:
        """The attributes that an object had when constants were marked, by name."""


class Kind:
    """One type's way. ``leaf`` is set for immutable values without parts: the function that writes them."""

    leaf: Callable[[Any], Any] | None = None
    replaced = False
    """Can be copied but not written into: a load hangs a fresh copy where the object hung."""
    unwritable = False
    """Holds parts and cannot be written into: where no part can be either, it never changes."""
    named = False
    """Contents are attributes by name."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        """The contents, None if there are none to put back. Parts that may be objects are added to ``todo``."""
        return None

    def put(self, item: Any, content: Any) -> None:
        """Write the contents back."""

    def fresh(self, content: Any) -> Any:
        """A new object with the contents, for a kind that is ``replaced``."""
        raise AssertionError("only for kinds that are replaced")

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        """The contents as plain values."""
        return [type(item).__qualname__]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        """The parts with the labels that paths are made of."""
        return iter(())

    def slots(self, item: Any, content: Any) -> Iterator[tuple[Any, Any]]:
        """The parts with the keys under which another object may be hung there."""
        return iter(())

    def shown(self, item: Any, content: Any) -> Any:
        """What a difference in this very object looks like, if it has a value of its own."""
        return None


class Leaf(Kind):
    """Immutable values without parts."""

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self.leaf = write


class Stateful(Kind):
    """Something that gives its state and takes it back: random generators, rectangles, vectors."""

    def __init__(self, get: Callable[[Any], Any], put: Callable[[Any, Any], Any]) -> None:
        self._get, self._put = get, put

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        return self._get(item)

    def put(self, item: Any, content: Any) -> None:
        self._put(item, content)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, plain_bytes(content)]

    def shown(self, item: Any, content: Any) -> Any:
        return content


class Flag(Stateful):
    """What is set or not. Only the set one is written: most are things of the process that a game never touches."""

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, True] if content else [type(item).__qualname__]


class Replaced(Kind):
    """Something that can be copied but not written into, such as a game state of a C++ library."""

    replaced = True

    def __init__(self, copy: Callable[[Any], Any], plain: Callable[[Any], Any]) -> None:
        self._copy, self._plain = copy, plain

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        return self._copy(item)

    def fresh(self, content: Any) -> Any:
        return self._copy(content)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, self._plain(content)]

    def shown(self, item: Any, content: Any) -> Any:
        return self._plain(content)


class Bound(Kind):
    """Immutable holders of other objects: bound methods, partials, views of dicts."""

    def __init__(self, held: Callable[[Any], Iterable[tuple[str, Any]]]) -> None:
        self._held = held

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> None:
        todo += [part for _, part in self._held(item) if type(part) not in leaves]

    def write(self, item: Any, content: None, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, *(writer.ref(part) for _, part in self._held(item))]

    def parts(self, item: Any, content: None) -> Iterator[tuple[str, Any]]:
        return iter(self._held(item))
