"""How containers of Python and numpy are saved, put back and written down."""

from __future__ import annotations

import collections
import types
import weakref
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import xxhash

from rollgym.games.canonical_bytes import PRIMITIVES, array_bytes
from rollgym.games.snapshot.kinds import Kind, Leaves, Writer


class Dict(Kind):
    """A dict, or a subclass of one with attributes of its own."""

    def __init__(self, base: type) -> None:
        self._base = base

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        content = dict(item) if self._base is dict else dict(self._base.items(item))  # type: ignore[attr-defined]
        factory = _factory(item)
        if factory is not None:
            todo.append(factory)
        for key, part in content.items():
            if type(key) not in leaves:
                todo.append(key)
            if type(part) not in leaves:
                todo.append(part)
        own = getattr(item, "__dict__", None)
        if own:
            todo += [part for part in own.values() if type(part) not in leaves]
            return content, dict(own)
        return content, None

    def put(self, item: Any, content: Any) -> None:
        entries, own = content
        self._base.clear(item)  # type: ignore[attr-defined]
        if self._base is collections.OrderedDict:
            for key, part in entries.items():
                collections.OrderedDict.__setitem__(item, key, part)
        else:
            dict.update(item, entries)
        _put_own(item, own)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        entries, own = content
        out: list[Any] = [type(item).__qualname__, len(entries)]
        for key, part in entries.items():
            out.append(writer.ref(key))
            out.append(writer.ref(part))
        factory = _factory(item)
        if factory is not None:
            out.append(writer.ref(factory))
        return out if own is None else out + _own(own, writer)

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        entries, own = content
        for key, part in entries.items():
            yield f"[{_key(key)}]", part
        for key in entries:
            yield f"<key {_key(key)}>", key
        factory = _factory(item)
        if factory is not None:
            yield ".default_factory", factory
        yield from ((f".{name}", part) for name, part in (own or {}).items())

    def slots(self, item: Any, content: Any) -> Iterator[tuple[Any, Any]]:
        return iter(content[0].items())

    def shown(self, item: Any, content: Any) -> Any:
        keys = [key if type(key) in PRIMITIVES else _key(key) for key in content[0]]
        return ["keys", *keys]


class Sequence(Kind):
    """A list or a deque, or a subclass of one."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        content = list(item)
        todo += [part for part in content if type(part) not in leaves]
        own = getattr(item, "__dict__", None)
        if own:
            todo += [part for part in own.values() if type(part) not in leaves]
            return content, dict(own)
        return content, None

    def put(self, item: Any, content: Any) -> None:
        base: Any = list if isinstance(item, list) else collections.deque
        base.clear(item)
        base.extend(item, content[0])
        _put_own(item, content[1])

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        parts, own = content
        out = [type(item).__qualname__, len(parts), *map(writer.ref, parts)]
        return out if own is None else out + _own(own, writer)

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        yield from ((f"[{index}]", part) for index, part in enumerate(content[0]))
        yield from ((f".{name}", part) for name, part in (content[1] or {}).items())

    def slots(self, item: Any, content: Any) -> Iterator[tuple[Any, Any]]:
        return enumerate(content[0])

    def shown(self, item: Any, content: Any) -> Any:
        return ["length", len(content[0])]


class Tuple(Kind):
    """A tuple: immutable, its parts may not be."""

    unwritable = True

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> None:
        todo += [part for part in item if type(part) not in leaves]

    def write(self, item: Any, content: None, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, *map(writer.ref, item)]

    def parts(self, item: Any, content: None) -> Iterator[tuple[str, Any]]:
        return ((f"[{index}]", part) for index, part in enumerate(item))

    def slots(self, item: Any, content: None) -> Iterator[tuple[Any, Any]]:
        return iter(())


class Set(Kind):
    """A set. Written sorted: its own order depends on how it came about, and for texts on the process."""

    def __init__(self, *, frozen: bool = False) -> None:
        self.unwritable = frozen

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        todo += [part for part in item if type(part) not in leaves]
        return set(item)

    def put(self, item: Any, content: Any) -> None:
        if isinstance(item, set):
            set.clear(item)
            set.update(item, content)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        members = content if len(content) < 2 else sorted(content, key=writer.rank)
        return [type(item).__qualname__, *map(writer.ref, members)]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        return (("{}", part) for part in content if type(part) not in PRIMITIVES)

    def shown(self, item: Any, content: Any) -> Any:
        return [
            type(item).__qualname__,
            *sorted((part if type(part) in PRIMITIVES else _key(part) for part in content), key=repr),
        ]


_LARGE = 1 << 14
"""Bytes from which on an array that has not changed shares one copy among snapshots."""
_REMEMBERED = 64


class Array(Kind):
    """A numpy array. Views of one memory are each put back: the same bytes twice."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._digests: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        if item.dtype.hasobject:
            todo += [part for part in item.ravel().tolist() if type(part) not in leaves]
        own = getattr(item, "__dict__", None)
        if own:
            todo += [part for part in own.values() if type(part) not in leaves]
        flags = item.flags
        # Who owns its memory can make it writable again. Who does not sees what somebody else may write.
        if flags.writeable or flags.owndata:
            values = item.copy() if item.nbytes < _LARGE else self._shared(item)
            return values, dict(own) if own else None, flags.writeable
        if isinstance(item.base, np.ndarray):
            todo.append(item.base)
        return None

    def _shared(self, item: Any) -> Any:
        """A copy; the last one once more, if every byte is what it was then."""
        known = self._last.get(id(item))
        if known is not None and known[0]() is item and _same_bytes(known[1], item):
            return known[1]
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        values = item.copy()
        self._last[id(item)] = (weakref.ref(item), values)
        return values

    def _digest(self, values: Any) -> Any:
        """What stands for the bytes of a large array, in the form that nothing else has."""
        known = self._digests.get(id(values))
        if known is not None and known[0]() is values:
            return known[1]
        if len(self._digests) >= _REMEMBERED:
            self._digests.clear()
        found = msgpack.ExtType(2, xxhash.xxh3_128_digest(array_bytes(values)))
        if any(values is kept for _, kept in self._last.values()):  # others may still change
            self._digests[id(values)] = (weakref.ref(values), found)
        return found

    def put(self, item: Any, content: Any) -> None:
        values, own, writeable = content
        if item.shape != values.shape:
            item.resize(values.shape, refcheck=False)
        locked = []
        at = item
        while isinstance(at, np.ndarray) and not at.flags.writeable:
            locked.append(at)
            at = at.base
        for at in reversed(locked):
            at.flags.writeable = True
        item[...] = values
        for at in locked:
            at.flags.writeable = False
        item.flags.writeable = writeable
        _put_own(item, own)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        values = item if content is None else content[0]
        out = [type(item).__qualname__, values.dtype.str, *values.shape]
        if values.dtype.hasobject:
            return [*out, *map(writer.ref, values.ravel().tolist())]
        out.append(array_bytes(values) if values.nbytes < _LARGE else self._digest(values))
        return out if content is None or content[1] is None else out + _own(content[1], writer)

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        if item.dtype.hasobject:
            yield from ((f"[{index}]", part) for index, part in enumerate(item.ravel().tolist()))
        if content is not None and content[1]:
            yield from ((f".{name}", part) for name, part in content[1].items())

    def shown(self, item: Any, content: Any) -> Any:
        values = item if content is None else content[0]
        return None if values.dtype.hasobject else values


def _same_bytes(one: Any, two: Any) -> bool:
    """Whether two arrays have the same bytes, in memory that can be compared as it is: NaN is equal to itself."""
    if one.dtype != two.dtype or one.shape != two.shape or one.dtype.hasobject:
        return False
    if not (one.flags.c_contiguous and two.flags.c_contiguous):
        return False
    wide = np.uint64 if one.nbytes % 8 == 0 else np.uint8
    return np.array_equal(one.reshape(-1).view(np.uint8).view(wide), two.reshape(-1).view(np.uint8).view(wide))


def _factory(item: Any) -> Any | None:
    """What a ``defaultdict`` makes new entries with, if it may hold something that changes: a class does not."""
    factory = getattr(item, "default_factory", None) if isinstance(item, collections.defaultdict) else None
    return None if factory is None or isinstance(factory, type) or _is_plain(factory) else factory


def _is_plain(function: Any) -> bool:
    """A function that holds nothing: neither closure nor defaults nor attributes."""
    if not isinstance(function, types.FunctionType):
        return False
    return not (function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__)


def _put_own(item: Any, own: dict[str, Any] | None) -> None:
    attributes = getattr(item, "__dict__", None)
    if attributes is not None:
        attributes.clear()
        attributes.update(own or {})


def _own(own: dict[str, Any], writer: Writer) -> list[Any]:
    return [part for name in writer.order(tuple(own)) for part in (name, writer.ref(own[name]))]


def _key(key: Any) -> str:
    return repr(key) if type(key) in PRIMITIVES or isinstance(key, tuple) else type(key).__qualname__
