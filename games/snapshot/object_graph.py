"""Exact snapshots of any graph of Python objects, taken and put back in place.

A snapshot is not a copy of the objects. It is the list of the mutable objects that can be reached from a root, each
with a copy of its contents; loading writes the contents back into the same objects. Therefore nothing is ever
constructed anew: ``__reduce__``, ``__getstate__``, ``__deepcopy__`` and constructors are not called, so a class like
``gymnasium.utils.EzPickle``, whose copies are fresh environments, can do no harm; two names for one object, views of
one array and bound methods stay what they are; windows, surfaces, fonts, modules, loggers and locks are kept simply
because nothing is written into them. What Python cannot look into (ctypes, SWIG, pybind11, cffi, running generators)
is refused with :class:`~rollgym.games.errors.Unsafe`, unless its library is known (see
:mod:`rollgym.games.snapshot.kinds_by_type`).

:mod:`rollgym.games.snapshot.graph_bytes` writes a snapshot as bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rollgym.games.canonical_bytes import PRIMITIVES, plain_bytes, type_name
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.frozen import Frozen
from rollgym.games.snapshot.graph_bytes import GraphSnapshot, GraphWriter
from rollgym.games.snapshot.kinds import Kind
from rollgym.games.snapshot.kinds_by_type import classify

MAX_OBJECTS = 200_000
"""A state of more objects than this is a mistake (a data set, a policy network), and would never fit into a frame."""


class Copier:
    """Takes and loads snapshots of everything that can be reached from ``root``."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._kinds: dict[type, Kind] = {}
        self._leaves: dict[type, Callable[[Any], Any]] = dict.fromkeys(PRIMITIVES, _same)
        self._frozen = Frozen(self._leaf_of)
        self._orders: dict[tuple[Any, ...], list[Any]] = {}
        self._constant: dict[int, Any] = {}
        self._first: GraphSnapshot | None = None
        self._left_out: dict[int, tuple[Any, Any]] = {}

    def leave_out(self, items: Iterable[tuple[Any, Any]]) -> None:
        """From now on do not look into these objects; each comes with what is written in its place."""
        self._left_out = {id(item): (item, written) for item, written in items}

    def teach(self, kind: type, way: Kind) -> None:
        """Take objects of a class in this way, in this copier."""
        self._kinds[kind] = way

    def save(self) -> GraphSnapshot:
        """The present contents. Raises :class:`~rollgym.games.errors.Unsafe`, naming the path of what cannot be
        copied."""
        taken = GraphSnapshot(self)
        records, index, kinds, leaves = taken.records, taken.index, self._kinds, self._leaves
        left_out = self._left_out
        todo = [self.root]
        replaced = False
        while todo:
            item = todo.pop()
            key = id(item)
            if key in index or key in left_out:
                continue
            kind = kinds.get(type(item)) or self._learn(item)
            if kind.leaf is not None or (kind.unwritable and self._frozen.holds(item)):
                continue
            index[key] = len(records)
            try:
                records.append((item, kind, kind.take(item, todo, leaves)))
            except Unsafe as error:
                raise self._refusal(item, error.expected) from error
            if kind.replaced:
                replaced = True
            if len(records) > MAX_OBJECTS:
                raise Unsafe("state", f"more than {MAX_OBJECTS} objects", _TOO_LARGE)
        if replaced:
            self._find_swaps(taken)
        return taken

    def load(self, snapshot: GraphSnapshot) -> None:
        """Write the contents back. Raises :class:`~rollgym.games.errors.Unsafe` for a snapshot of another instance."""
        if snapshot.owner is not self:
            raise Unsafe("snapshot", "of another instance", "one that this instance took: it is bound to its objects")
        for item, kind, content in snapshot.records:
            if content is not None:
                kind.put(item, content)
        if snapshot.swaps:
            fresh: dict[int, Any] = {}
            for holder, key, number in snapshot.swaps:
                if number not in fresh:
                    _, kind, content = snapshot.records[number]
                    fresh[number] = kind.fresh(content)
                _hang(holder, key, fresh[number])

    def mark_constant(self, snapshot: GraphSnapshot) -> None:
        """From now on texts that objects had in ``snapshot`` count as "unchanged" in :meth:`state_bytes`."""
        self._first = snapshot
        self._constant = {id(item): content for item, kind, content in snapshot.records if kind.named}

    def state_bytes(self, snapshot: GraphSnapshot) -> bytes:
        """The canonical bytes of a snapshot."""
        return GraphWriter(self, snapshot).everything()

    def fields(self, snapshot: GraphSnapshot) -> dict[str, Any]:
        """Every part of the state under its path, such as ``env.world.agents[0].state.p_pos``."""
        found: dict[str, Any] = {}
        writer = GraphWriter(self, snapshot)
        todo: deque[tuple[str, Any]] = deque([("", self.root)])
        seen: set[int] = set()
        while todo:
            path, item = todo.popleft()
            if id(item) in seen:
                continue
            seen.add(id(item))
            number = snapshot.index.get(id(item))
            if number is None:
                continue
            _, kind, content = snapshot.records[number]
            for label, part in kind.parts(item, content):
                place = (path + label).lstrip(".")
                if id(part) in snapshot.index:
                    todo.append((place, part))
                elif type(part) in self._leaves:
                    found[place] = writer.ref(part)
                elif id(part) not in self._left_out and self.frozen(part) is not None:
                    found[place] = self._frozen.listed(part)
            shown = kind.shown(item, content)
            if shown is not None:
                found[path.lstrip(".")] = shown
        return found

    def tree(self, snapshot: GraphSnapshot) -> list[tuple[str, int, Any]]:
        """All objects of a snapshot by their shortest paths: each with the number of the one that holds it, -1 for the
        root."""
        found: list[tuple[str, int, Any]] = []
        todo: deque[tuple[str, Any, int]] = deque([("", self.root, -1)])
        seen: set[int] = set()
        while todo:
            path, item, holder = todo.popleft()
            number = snapshot.index.get(id(item))
            if number is None or id(item) in seen:
                continue
            seen.add(id(item))
            _, kind, content = snapshot.records[number]
            found.append((path.lstrip("."), holder, item))
            todo.extend((path + label, part, len(found) - 1) for label, part in kind.parts(item, content))
        return found

    def reached(self, snapshot: GraphSnapshot) -> list[Any]:
        """All objects of a snapshot, in the order of its bytes: the same in every process."""
        writer = GraphWriter(self, snapshot)
        writer.everything()
        return writer.items

    def order(self, names: tuple[Any, ...]) -> list[Any]:
        """Attribute names sorted, remembered: objects of one class nearly always have the same ones."""
        known = self._orders.get(names)
        if known is None:
            known = self._orders[names] = sorted(names)
        return known

    def constant(self, item: Any) -> Mapping[str, Any]:
        """The attributes ``item`` had when constants were marked."""
        content = self._constant.get(id(item))
        return content if isinstance(content, dict) else {}

    def frozen(self, item: Any) -> Any | None:
        """How something that is not held because it never changes is written, None for anything else."""
        left_out = self._left_out.get(id(item))
        if left_out is not None:
            return ["left out", left_out[1]]
        kind = self._kinds.get(type(item))
        return self._frozen.packed(item) if kind is not None and kind.unwritable else None

    def _leaf_of(self, value: Any) -> Callable[[Any], Any] | None:
        kind = self._kinds.get(type(value))
        if kind is None and type(value) not in self._leaves:
            self._learn(value)
        return self._leaves.get(type(value))

    def leaf_writer(self, kind: type) -> Callable[[Any], Any] | None:
        """How a value of an immutable type without parts is written, or None if it is not of one."""
        return self._leaves.get(kind)

    def _learn(self, item: Any) -> Kind:
        try:
            kind = classify(item)
        except Unsafe as error:
            raise self._refusal(item, error.expected) from error
        if kind.leaf is not None:
            self._leaves[type(item)] = kind.leaf
        self._kinds[type(item)] = kind
        return kind

    def _refusal(self, item: Any, expected: str) -> Unsafe:
        kind = type(item)
        where = self._path(item) or "state"
        return Unsafe(where, type_name(kind), expected)

    def _path(self, wanted: Any) -> str:
        """The shortest path to an object. Only for messages: it looks at everything again."""
        todo: deque[tuple[str, Any]] = deque([("", self.root)])
        seen: set[int] = set()
        while todo:
            path, item = todo.popleft()
            if item is wanted:
                return path.lstrip(".")
            kind = self._kinds.get(type(item))
            if id(item) in seen or kind is None or kind.leaf is not None:
                continue
            seen.add(id(item))
            todo.extend((path + label, part) for label, part in kind.parts(item, kind.take(item, [], self._leaves)))
        return ""

    def _find_swaps(self, taken: GraphSnapshot) -> None:
        numbers = {id(item): n for n, (item, kind, _) in enumerate(taken.records) if kind.replaced}
        for item, kind, content in taken.records:
            if kind.replaced:
                continue
            hung = set()
            for key, part in kind.slots(item, content):
                if id(part) in numbers:
                    taken.swaps.append((item, key, numbers[id(part)]))
                    hung.add(id(part))
            for _, part in kind.parts(item, content):
                if id(part) in numbers and id(part) not in hung:
                    raise self._refusal(part, _NO_SLOT.format(type_name(type(item))))


_NO_SLOT = (
    "to be held by an attribute, a list or a dict: in a {} it cannot be replaced, and it can only be copied, not "
    "written into"
)
_TOO_LARGE = "a smaller one: keep data sets and networks outside of the environment's attributes"


def _same(value: Any) -> Any:
    return value


def _hang(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, dict | list | deque):
        holder[key] = value
    else:
        object.__setattr__(holder, key, value)


def differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The paths at which two results of :meth:`Copier.fields` differ, in the order of the first."""
    absent = "<absent>"
    for path in [*one, *(path for path in two if path not in one)]:
        first, second = one.get(path, absent), two.get(path, absent)
        if plain_bytes([first]) != plain_bytes([second]):
            yield path, first, second
