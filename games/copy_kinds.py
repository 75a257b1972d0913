"""How objects of each kind are saved, put back and written down: the hands of :mod:`rollgym.games.copying`."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from rollgym.games.plain import PRIMITIVES, array_bytes, plain_bytes

Leaves = dict[type, Callable[[Any], Any]]


class Writer(Protocol):
    """What kinds need for writing: see :class:`rollgym.games.copying.Copier`."""

    def ref(self, value: Any) -> Any: ...

    def rank(self, value: Any) -> Any: ...

    def order(self, names: tuple[Any, ...]) -> list[Any]: ...

    def constant(self, item: Any) -> Any: ...


class Kind:
    """One type's way. ``leaf`` is set for immutable values without parts: the function that writes them."""

    leaf: Callable[[Any], Any] | None = None
    replaced = False
    """Can be copied but not written into: a load hangs a fresh copy where the object hung."""
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


class Instance(Kind):
    """A Python object with a ``__dict__`` and nothing else."""

    named = True

    def __init__(self, skip: frozenset[str]) -> None:
        self.skip = skip

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> dict[str, Any]:
        content: dict[str, Any] = item.__dict__.copy()
        if self.skip:
            todo += [part for name, part in content.items() if type(part) not in leaves and name not in self.skip]
        else:
            todo += [part for part in content.values() if type(part) not in leaves]
        return content

    def put(self, item: Any, content: dict[str, Any]) -> None:
        attributes = item.__dict__
        attributes.clear()
        attributes.update(content)

    def write(self, item: Any, content: dict[str, Any], writer: Writer) -> list[Any]:
        out: list[Any] = [type(item).__qualname__]
        constant = writer.constant(item)
        for name in writer.order(tuple(content)):
            if name in self.skip:
                continue
            part = content[name]
            kind = type(part)
            out.append(name)
            if kind is float or kind is int or kind is bool or part is None:
                out.append(part)
            elif kind is str and constant.get(name) == part:
                out.append(["="])
            else:
                out.append(writer.ref(part))
        return out

    def parts(self, item: Any, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        return ((f".{name}", part) for name, part in content.items() if name not in self.skip)

    def slots(self, item: Any, content: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
        return iter(content.items())


class Slotted(Kind):
    """A Python object with ``__slots__``, with or without a ``__dict__``."""

    named = True

    def __init__(self, names: tuple[str, ...], skip: frozenset[str]) -> None:
        self.names = names
        self.skip = skip

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> dict[str, Any]:
        content = dict(getattr(item, "__dict__", ()))
        for name in self.names:
            try:
                content[name] = object.__getattribute__(item, name)
            except AttributeError:
                continue
        todo += [part for name, part in content.items() if type(part) not in leaves and name not in self.skip]
        return content

    def put(self, item: Any, content: dict[str, Any]) -> None:
        attributes = getattr(item, "__dict__", None)
        if attributes is not None:
            attributes.clear()
            attributes.update({name: part for name, part in content.items() if name not in self.names})
        for name in self.names:
            if name in content:
                object.__setattr__(item, name, content[name])
            elif hasattr(item, name):
                object.__delattr__(item, name)

    write = Instance.write
    parts = Instance.parts
    slots = Instance.slots


class Dict(Kind):
    """A dict, or a subclass of one with attributes of its own."""

    def __init__(self, base: type) -> None:
        self._base = base

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        content = dict(item) if self._base is dict else dict(self._base.items(item))  # type: ignore[attr-defined]
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
        return out if own is None else out + _own(own, writer)

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        entries, own = content
        for key, part in entries.items():
            yield f"[{_key(key)}]", part
        for key in entries:
            yield f"<key {_key(key)}>", key
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


class Array(Kind):
    """A numpy array. Views of one memory are each put back: the same bytes twice."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        if item.dtype.hasobject:
            todo += [part for part in item.ravel().tolist() if type(part) not in leaves]
        own = getattr(item, "__dict__", None)
        if own:
            todo += [part for part in own.values() if type(part) not in leaves]
        if item.flags.writeable:
            return item.copy(), dict(own) if own else None
        if isinstance(item.base, np.ndarray):
            todo.append(item.base)
        return None

    def put(self, item: Any, content: Any) -> None:
        values, own = content
        if item.shape != values.shape:
            item.resize(values.shape, refcheck=False)
        item[...] = values
        _put_own(item, own)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        values = item if content is None else content[0]
        out = [type(item).__qualname__, values.dtype.str, *values.shape]
        if values.dtype.hasobject:
            return [*out, *map(writer.ref, values.ravel().tolist())]
        return (
            [*out, array_bytes(values)]
            if content is None or content[1] is None
            else [
                *out,
                array_bytes(values),
                *_own(content[1], writer),
            ]
        )

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        if item.dtype.hasobject:
            yield from ((f"[{index}]", part) for index, part in enumerate(item.ravel().tolist()))
        if content is not None and content[1]:
            yield from ((f".{name}", part) for name, part in content[1].items())

    def shown(self, item: Any, content: Any) -> Any:
        values = item if content is None else content[0]
        return None if values.dtype.hasobject else values


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


class Function(Kind):
    """A function: its code is constant, what it closes over and its mutable defaults may not be."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> None:
        todo += item.__closure__ or ()
        todo += [part for part in item.__defaults__ or () if type(part) not in leaves]

    def write(self, item: Any, content: None, writer: Writer) -> list[Any]:
        return ["function", item.__qualname__, *map(writer.ref, item.__closure__ or ())]

    def parts(self, item: Any, content: None) -> Iterator[tuple[str, Any]]:
        names = item.__code__.co_freevars
        yield from ((f".<{name}>", cell) for name, cell in zip(names, item.__closure__ or (), strict=True))
        yield from ((f".<default {index}>", part) for index, part in enumerate(item.__defaults__ or ()))


class Cell(Kind):
    """A variable that functions close over."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        try:
            content = (item.cell_contents,)
        except ValueError:
            return ()
        todo += [part for part in content if type(part) not in leaves]
        return content

    def put(self, item: Any, content: Any) -> None:
        if content:
            item.cell_contents = content[0]
        else:
            del item.cell_contents

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return ["cell", *map(writer.ref, content)]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        return (("", part) for part in content)


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


class SpaceKind(Kind):
    """A gymnasium space. It is constant but for the generator that ``sample`` draws from."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        todo += [part for _, part in self.parts(item, None)]
        return (item._np_random,)

    def put(self, item: Any, content: Any) -> None:
        item._np_random = content[0]

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, *(writer.ref(part) for _, part in self.parts(item, content))]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        drawn = item._np_random if content is None else content[0]
        if drawn is not None:
            yield "._np_random", drawn
        if isinstance(item, spaces.Dict):
            yield from ((f"[{key!r}]", part) for key, part in item.spaces.items())
        elif isinstance(item, spaces.Tuple):
            yield from ((f"[{index}]", part) for index, part in enumerate(item.spaces))


def _put_own(item: Any, own: dict[str, Any] | None) -> None:
    attributes = getattr(item, "__dict__", None)
    if attributes is not None:
        attributes.clear()
        attributes.update(own or {})


def _own(own: dict[str, Any], writer: Writer) -> list[Any]:
    return [part for name in writer.order(tuple(own)) for part in (name, writer.ref(own[name]))]


def _key(key: Any) -> str:
    return repr(key) if type(key) in PRIMITIVES or isinstance(key, tuple) else type(key).__qualname__
