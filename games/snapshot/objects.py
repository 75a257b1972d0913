"""How Python objects with attributes, functions and what they close over are saved, put back and written down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollgym.games.snapshot.kinds import Kind, Leaves, Writer


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


class Function(Kind):
    """A function: its code is constant; what it closes over, mutable defaults and attributes of its own may not be."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        todo += item.__closure__ or ()
        todo += [part for part in item.__defaults__ or () if type(part) not in leaves]
        todo += [part for part in (item.__kwdefaults__ or {}).values() if type(part) not in leaves]
        own = dict(item.__dict__)
        todo += [part for name, part in own.items() if name != _WRAPPED and type(part) not in leaves]
        return own

    def put(self, item: Any, content: Any) -> None:
        own = item.__dict__
        if own or content:
            own.clear()
            own.update(content)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        names = [name for name in content if name != _WRAPPED]
        own = [part for name in writer.order(tuple(names)) for part in (name, writer.ref(content[name]))]
        return ["function", item.__qualname__, *map(writer.ref, item.__closure__ or ()), *own]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        names = item.__code__.co_freevars
        yield from ((f".<{name}>", cell) for name, cell in zip(names, item.__closure__ or (), strict=True))
        yield from ((f".<default {index}>", part) for index, part in enumerate(item.__defaults__ or ()))
        yield from ((f".<default {name}>", part) for name, part in (item.__kwdefaults__ or {}).items())
        yield from ((f".{name}", part) for name, part in content.items() if name != _WRAPPED)

    def slots(self, item: Any, content: Any) -> Iterator[tuple[Any, Any]]:
        return ((name, part) for name, part in content.items() if name != _WRAPPED)


_WRAPPED = "__wrapped__"
"""What ``functools.wraps`` leaves on a function. A wrapper that calls what it wraps reaches it by its closure."""


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

    def slots(self, item: Any, content: Any) -> Iterator[tuple[Any, Any]]:
        return (("cell_contents", part) for part in content)
