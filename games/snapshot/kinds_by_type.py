"""Which kind an object's type is: the knowledge behind :mod:`rollgym.games.snapshot.object_graph`.

A type is looked at once. Plain Python classes are recognised by their size: an instance that is larger than its
attributes explain keeps something in C that no snapshot would contain, and is refused unless its type is listed here.
"""

from __future__ import annotations

import array as array_module
import ast
import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import logging
import pathlib
import random
import re
import struct
import threading
import types
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.canonical_bytes import PRIMITIVES, array_bytes, named, plain_bytes
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.containers import Array, Dict, Sequence, Set, Tuple
from rollgym.games.snapshot.gym_spaces import SpaceKind, Undrawn
from rollgym.games.snapshot.kinds import Bound, Flag, Kind, Leaf, Replaced, Stateful
from rollgym.games.snapshot.objects import Cell, Function, Instance, Slotted

INSTEAD = (
    "plain Python and numpy state, or get_state() and set_state(state) on the environment, or replaying every "
    "episode from its reset: adapter={snapshot: replay}"
)
NO_LOOK = f"{INSTEAD}; what this type keeps outside of Python cannot be copied"


def _by_type(value: Any) -> Any:
    return [type(value).__qualname__]


def _texted(value: Any) -> Any:
    return [type(value).__qualname__, str(value)]


def _scalar(value: Any) -> Any:
    return [value.dtype.str, value.tobytes()]


def _jax_array(value: Any) -> Any:
    values = np.asarray(value)
    return ["jax", values.dtype.str, *values.shape, array_bytes(values)]


LEAF = Leaf(_by_type)
_JAX = Leaf(_jax_array)
"""Arrays of JAX are immutable: a snapshot keeps them as they are."""

_NAMED = Leaf(named)
_TEXT = Leaf(_texted)

_TYPES: dict[type, Kind] = {
    **{kind: Leaf(lambda value: value) for kind in PRIMITIVES},
    complex: Leaf(lambda value: ["complex", value.real, value.imag]),
    range: _TEXT,
    slice: _TEXT,
    type(...): LEAF,
    type(NotImplemented): LEAF,
    types.FunctionType: Function(),
    types.CellType: Cell(),
    types.MethodType: Bound(lambda m: ((".__func__", m.__func__), (".__self__", m.__self__))),
    types.BuiltinFunctionType: Bound(lambda f: ((".__name__", f.__name__), (".__self__", f.__self__))),
    types.MethodWrapperType: Bound(lambda f: ((".__name__", f.__name__), (".__self__", f.__self__))),
    functools.partial: Bound(lambda p: ((".func", p.func), (".args", p.args), (".keywords", p.keywords))),
    type({}.keys()): Bound(lambda view: ((".mapping", view.mapping),)),
    type({}.values()): Bound(lambda view: ((".mapping", view.mapping),)),
    type({}.items()): Bound(lambda view: ((".mapping", view.mapping),)),
    types.MappingProxyType: Bound(lambda view: ((f"[{key!r}]", part) for key, part in view.items())),
    frozenset: Set(frozen=True),
    bytearray: Stateful(bytes, lambda item, content: item.__setitem__(slice(None), content)),
    array_module.array: Stateful(
        lambda item: [item.typecode, item.tobytes()],
        lambda item, content: item.__setitem__(slice(None), array_module.array(content[0], content[1])),
    ),
    itertools.count: Replaced(lambda count: itertools.count(*_counted(count)), lambda count: list(_counted(count))),
    functools._lru_cache_wrapper: Bound(lambda cached: ((".__wrapped__", cached.__wrapped__),)),
    threading.Event: Flag(lambda event: event.is_set(), lambda event, on: event.set() if on else event.clear()),
    type(threading.Lock()): Flag(lambda lock: lock.locked(), lambda lock, content: _lock(lock, content)),
    np.random.RandomState: Stateful(
        lambda item: item.get_state(legacy=False), lambda item, content: item.set_state(content)
    ),
}
_BY_TYPE: tuple[Any, ...] = (
    *(types.WrapperDescriptorType, types.MethodDescriptorType, types.GetSetDescriptorType, types.GenericAlias),
    *(property, classmethod, staticmethod, weakref.ref, weakref.ProxyType, np.ufunc, struct.Struct),
)
_BY_TEXT: tuple[Any, ...] = (
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction),
    *(uuid.UUID, re.Pattern),
)


def _counted(count: Any) -> tuple[Any, ...]:
    """Where an ``itertools.count`` is, and its step. Its text says both exactly; newer Pythons do not pickle it."""
    found: tuple[Any, ...] = ast.literal_eval(f"({repr(count)[len('count(') : -1]},)")
    return found


def _lock(lock: Any, wanted: bool) -> None:
    if wanted:
        lock.acquire(blocking=False)
    elif lock.locked():
        lock.release()


_TYPES.update(dict.fromkeys((*_BY_TYPE, Undrawn), LEAF))
_TYPES.update(dict.fromkeys(_BY_TEXT, _TEXT))

# Things of the process, not of the game: kept, never written into.
_RESOURCES: tuple[type, ...] = (
    *(types.ModuleType, logging.Logger, logging.Handler, logging.LoggerAdapter, io.IOBase, pathlib.PurePath),
    *(type(threading.RLock()), threading.Condition),
)
_RESOURCE_MODULES = ("pygame", "pyglet", "PIL", "matplotlib", "OpenGL", "glfw", "moderngl", "tkinter", "cv2", "logging")
_RESOURCE_TYPES = (
    *("gymnasium.envs.registration.EnvSpec", "mujoco._structs.MjModel", "pyspiel.Game", "pyspiel.GameType"),
    *("gymnasium.envs.mujoco.mujoco_rendering.MujocoRenderer",),
)
_NOT_RESOURCES = ("pygame.sprite", "pygame.rect", "pygame.math")

# Attributes that say how an object was made. They are kept for pickling and play no part in the game.
_CONSTRUCTION = frozenset({"_ezpickle_args", "_ezpickle_kwargs", "_saved_kwargs"})
_NOTHING: frozenset[str] = frozenset()

_EXTENSIONS: list[Callable[[Any], Kind | None]] = []


def _text_taken(item: Any) -> Any:
    """Text or bytes in memory, and the place in it. Closed ones have nothing to put back."""
    return None if item.closed else list(item.__getstate__())


def _text_put(item: Any, content: Any) -> None:
    if not item.closed:
        item.__setstate__(tuple(content))


def extend(recognise: Callable[[Any], Kind | None]) -> None:
    """Add a function that gives the kind of objects it knows, and None for others. Asked before everything else."""
    _EXTENSIONS.append(recognise)


def classify(item: Any) -> Kind:
    """The kind of an object's type. Raises :class:`~rollgym.games.errors.Unsafe` for what cannot be copied."""
    kind = type(item)
    known = _TYPES.get(kind)
    if known is not None:
        return known
    for recognise in _EXTENSIONS:
        found = recognise(item)
        if found is not None:
            return found
    if isinstance(item, enum.Enum | type):
        return _NAMED
    if isinstance(item, np.generic):
        return Leaf(_scalar)
    if kind.__name__ == "ArrayImpl" and kind.__module__.startswith("jaxlib"):
        return _JAX
    if isinstance(item, np.dtype):
        return LEAF
    if isinstance(item, spaces.Space):
        return SpaceKind()
    if isinstance(item, np.random.Generator):
        return Stateful(lambda g: g.bit_generator.state, lambda g, content: setattr(g.bit_generator, "state", content))
    if isinstance(item, np.random.BitGenerator):
        return Stateful(lambda g: g.state, lambda g, content: setattr(g, "state", content))
    if isinstance(item, random.SystemRandom):
        raise Unsafe("", kind, "random.Random or self.np_random: what the system draws cannot be drawn again")
    if isinstance(item, random.Random):
        return Stateful(lambda r: r.getstate(), lambda r, content: r.setstate(content))
    if isinstance(item, io.StringIO | io.BytesIO):
        return Stateful(_text_taken, _text_put)
    if isinstance(item, threading.local):
        return Instance(_NOTHING)
    if isinstance(item, threading.Thread):
        raise Unsafe("", kind, "a simulation without threads: they run on while frames are rolled back")
    if isinstance(item, types.GeneratorType | types.CoroutineType | types.AsyncGeneratorType):
        raise Unsafe("", kind, "a list with an index: how far a running generator is cannot be copied")
    if hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools"):
        raise Unsafe("", kind, "a list with an index: how far an iterator is cannot be copied")
    if isinstance(item, np.random.SeedSequence):
        return Replaced(lambda seeds: type(seeds)(**seeds.state), lambda seeds: plain_bytes(seeds.state))
    resource = _resource(kind)
    if resource is not None:
        return resource
    return _by_base(item, kind)


def _resource(kind: type) -> Kind | None:
    module = str(getattr(kind, "__module__", ""))
    if module.startswith(("pygame.rect", "pygame.math")):
        if kind.__name__ in ("Rect", "FRect"):
            return Stateful(tuple, lambda rect, content: rect.update(content))
        if kind.__name__.startswith("Vector"):
            return Stateful(tuple, lambda vector, content: vector.update(content))
    if issubclass(kind, _RESOURCES) or f"{module}.{kind.__qualname__}" in _RESOURCE_TYPES:
        return LEAF
    if module.split(".")[0] in _RESOURCE_MODULES and not module.startswith(_NOT_RESOURCES):
        return LEAF
    return None


def _by_base(item: Any, kind: type) -> Kind:
    slots: list[str] = []
    base = kind
    while base is not object and base not in _SOLID:
        parent = base.__base__ or object
        own = _slots_of(base)
        room = 8 * (len(own) + ("__dict__" in base.__dict__) + ("__weakref__" in base.__dict__))
        if not base.__flags__ & _HEAP_TYPE or base.__basicsize__ - parent.__basicsize__ > room:
            raise Unsafe("", kind, NO_LOOK)
        slots += own
        base = parent
    for solid, make in _SOLID.items():
        if issubclass(base, solid):
            if slots or (issubclass(base, _VALUES) and getattr(item, "__dict__", None)):
                raise Unsafe("", kind, f"a subclass of {solid.__name__} without slots and attributes of its own")
            return make(base)
    skip = (
        _CONSTRUCTION
        if any("zPickle" in c.__name__ or c.__name__ == "RecordConstructorArgs" for c in kind.__mro__)
        else _NOTHING
    )
    if not slots:
        return Instance(skip) if hasattr(item, "__dict__") else LEAF
    return Slotted(tuple(slots), skip)


_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: made by a class statement (or by a C library that goes out of its way)."""

_SOLID: dict[type, Callable[[type], Kind]] = {
    dict: lambda base: Dict(collections.OrderedDict if base is collections.OrderedDict else dict),
    list: lambda base: Sequence(),
    collections.deque: lambda base: Sequence(),
    tuple: lambda base: Tuple(),
    set: lambda base: Set(),
    frozenset: lambda base: Set(frozen=True),
    np.ndarray: lambda base: Array(),
    types.SimpleNamespace: lambda base: Instance(_NOTHING),
    int: lambda base: Leaf(lambda value: [type(value).__qualname__, str(int(value))]),
    float: lambda base: Leaf(lambda value: [type(value).__qualname__, float(value)]),
    str: lambda base: Leaf(lambda value: [type(value).__qualname__, str(value)]),
    bytes: lambda base: Leaf(lambda value: [type(value).__qualname__, bytes(value)]),
    BaseException: lambda base: LEAF,
}
_VALUES = (tuple, int, float, str, bytes, frozenset)
_SOLID[collections.OrderedDict] = _SOLID[dict]
_SOLID[collections.defaultdict] = _SOLID[dict]


def _slots_of(kind: type) -> list[str]:
    names = kind.__dict__.get("__slots__", ())
    names = (names,) if isinstance(names, str) else tuple(names)
    mangled = [
        f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
    ]
    return [name for name in mangled if name not in ("__dict__", "__weakref__")]
