"""In-place snapshots: exact for anything made of Python and numpy, refused for what Python cannot look into."""

from __future__ import annotations

import array
import collections
import copy
import ctypes
import functools
import itertools
import logging
import os
import pickle
import random
import struct
import threading
from typing import Any

import numpy as np
import pygame
import pytest
from gymnasium import spaces
from gymnasium.utils import EzPickle
from hypothesis import given

from rollgym.games.canonical_bytes import type_name
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.object_graph import Copier
from tests.adapters.things import Both, Colour, Point, Slotted, Thing, bytes_of, plain


def spoil(value: Any) -> None:
    """Change everything that can be changed."""
    if isinstance(value, list):
        for part in value:
            spoil(part)
        value.append("spoilt")
    elif isinstance(value, dict):
        for part in value.values():
            spoil(part)
        value["spoilt"] = len(value)
        value.pop(next(iter(value)))
    elif isinstance(value, tuple):
        for part in value:
            spoil(part)
    elif isinstance(value, Thing):
        spoil(value.__dict__)
    elif isinstance(value, np.ndarray):
        value += 1


@given(plain)
def test_whatever_is_changed_comes_back(value: Any) -> None:
    root = Thing(value=value, again=[value])
    copier = Copier(root)
    snapshot = copier.save()
    before, shape = copier.state_bytes(snapshot), pickle.dumps(root)
    spoil(root)
    spoilt = copier.state_bytes(copier.save())
    copier.load(snapshot)
    assert copier.state_bytes(copier.save()) == before != spoilt
    assert pickle.dumps(root) == shape
    assert root.again[0] is root.value
    spoil(root)
    copier.load(snapshot)
    assert copier.state_bytes(copier.save()) == before


@given(plain)
def test_a_copy_of_a_value_has_the_same_bytes(value: Any) -> None:
    assert bytes_of(Thing(value=value)) == bytes_of(Thing(value=copy.deepcopy(value)))


def test_objects_stay_the_same_objects() -> None:
    shared = [1, 2]
    whole = np.arange(6.0)
    root = Thing(one=shared, two=shared, whole=whole, view=whole[2:4])
    root.me = root
    root.method = shared.append
    copier = Copier(root)
    snapshot = copier.save()
    root.two = []
    root.method(3)
    root.view[:] = -1
    root.view = np.zeros(2)
    copier.load(snapshot)
    assert root.one is root.two is shared
    assert shared == [1, 2]
    assert root.me is root
    assert root.view.base is whole
    root.view[0] = 99
    assert whole.tolist() == [0, 1, 99, 3, 4, 5]
    root.method(7)
    assert shared == [1, 2, 7]


def test_containers_of_every_kind() -> None:
    ordered: Any = collections.OrderedDict(b=1, a=[2])
    default: Any = collections.defaultdict(list, {"k": [1]})
    root = Thing(
        ordered=ordered,
        default=default,
        counter=collections.Counter("aab"),
        queue=collections.deque([1, [2], 3], maxlen=3),
        members={1, 2, (3, 4)},
        frozen=frozenset({1, 2}),
        point=Point(1, [5]),
        slotted=Slotted([1]),
        both=Both([1]),
        raw=bytearray(b"abc"),
        typed=array.array("d", [1.0, 2.0]),
        objects=np.array([[1], {"a": 2}], dtype=object),
        record=np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
        scalar=np.float32(1.5),
        zero=np.array(3),
        rect=pygame.Rect(1, 2, 3, 4),
        vector=pygame.Vector2(1, 2),
        colour=Colour.RED,
    )
    copier = Copier(root)
    snapshot = copier.save()
    before = copier.state_bytes(snapshot)
    ordered.move_to_end("b")
    ordered["a"].append(1)
    default["new"].append(1)
    default["k"].append(2)
    root.counter["z"] += 1
    root.queue.append(4)
    root.members.add(9)
    root.point.y.append(6)
    root.slotted.value.append(2)
    root.slotted.grow()
    root.slotted.other = 1
    root.both.extra["b"] = 2
    root.both.value = None
    root.raw += b"d"
    root.typed.append(3.0)
    root.objects[0].append(2)
    root.objects[1] = None
    root.record["a"] = 7
    root.scalar += 1
    root.zero += 1
    root.rect.x = 50
    root.vector.x = 50
    assert copier.state_bytes(copier.save()) != before
    copier.load(snapshot)
    assert copier.state_bytes(copier.save()) == before
    assert list(ordered.items()) == [("b", 1), ("a", [2])]
    assert default == {"k": [1]}
    assert list(root.queue) == [1, [2], 3]
    assert root.queue.maxlen == 3
    assert root.slotted.hidden == [1]
    assert not hasattr(root.slotted, "other")
    assert (root.rect.x, root.vector.x) == (1, 1)
    assert root.objects[0] == [1]
    assert (bytes(root.raw), root.typed.tolist()) == (b"abc", [1.0, 2.0])
    ordered["c"] = 3
    assert list(ordered) == ["b", "a", "c"]


def test_generators_go_on_where_they_were() -> None:
    makers = (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)
    root = Thing(
        numpy=[np.random.Generator(make(3)) for make in makers],
        legacy=np.random.RandomState(3),
        python=random.Random(3),
        space=spaces.Dict(a=spaces.Discrete(1000)),
    )
    root.space.seed(3)

    def draw() -> list[float]:
        drawn = [g.normal() for g in root.numpy] + [root.legacy.normal(), root.python.gauss(0, 1)]
        return [*drawn, root.space.sample()["a"]]

    draw()
    copier = Copier(root)
    snapshot = copier.save()
    first = [draw() for _ in range(3)]
    copier.load(snapshot)
    assert [draw() for _ in range(3)] == first
    copier.load(snapshot)
    root.numpy[0] = np.random.default_rng(99)
    copier.load(snapshot)
    assert [draw() for _ in range(3)] == first


def test_what_can_only_be_copied_is_replaced_wherever_it_hangs() -> None:
    seeds = np.random.SeedSequence(5)
    root = Thing(seeds=seeds, listed=[seeds], named={"s": seeds})
    copier = Copier(root)
    root.seeds.spawn(1)
    snapshot = copier.save()
    before = copier.state_bytes(snapshot)
    first = [child.entropy for child in root.seeds.spawn(2)], root.seeds.n_children_spawned
    for _ in range(2):
        copier.load(snapshot)
        assert root.seeds is root.listed[0] is root.named["s"]
        assert root.seeds.n_children_spawned == 1
        assert copier.state_bytes(copier.save()) == before
        assert ([child.entropy for child in root.seeds.spawn(2)], root.seeds.n_children_spawned) == first


def test_what_functions_close_over_is_part_of_the_state() -> None:
    def counter() -> Any:
        count = 0
        log: list[int] = []

        def tick() -> int:
            nonlocal count
            count += 1
            log.append(count)
            return len(log)

        return tick

    def remember(value: int, known: list[int] = []) -> int:  # noqa: B006 - the point of it
        known.append(value)
        return len(known)

    root = Thing(tick=counter(), part=functools.partial(remember, 1))
    copier = Copier(root)
    root.tick()
    snapshot = copier.save()
    first = [(root.tick(), root.part()) for _ in range(3)]
    copier.load(snapshot)
    assert [(root.tick(), root.part()) for _ in range(3)] == first == [(2, 1), (3, 2), (4, 3)]


def test_arrays_may_be_replaced_resized_and_read_only() -> None:
    locked = np.arange(3)
    locked.flags.writeable = False
    root = Thing(a=np.zeros(3), locked=locked, wide=np.zeros((2, 2), order="F"))
    copier = Copier(root)
    snapshot = copier.save()
    kept = root.a
    root.a.resize(5, refcheck=False)
    root.wide[0, 1] = 4
    copier.load(snapshot)
    assert root.a is kept
    assert root.a.shape == (3,)
    assert root.wide.sum() == 0
    assert root.locked is locked


class Fresh(EzPickle):
    """Copies of it are made by its constructor."""

    def __init__(self, start: int) -> None:
        EzPickle.__init__(self, start)
        self.value = start


def test_ezpickle_gives_no_fresh_object() -> None:
    held = Fresh(1)
    root = Thing(held=held)
    held.value = 5
    assert copy.deepcopy(root).held.value == 1  # what goes wrong elsewhere
    copier = Copier(root)
    snapshot = copier.save()
    held.value = 7
    copier.load(snapshot)
    assert (root.held, held.value) == (held, 5)
    assert b"_ezpickle" not in copier.state_bytes(snapshot)


def test_resources_are_kept_as_they_are() -> None:
    surface = pygame.Surface((4, 4))
    root = Thing(
        surface=surface,
        log=logging.getLogger("x"),
        module=os,
        lock=threading.Lock(),
        clock=pygame.time.Clock(),
        kind=Thing,
    )
    root.value = 1
    copier = Copier(root)
    snapshot = copier.save()
    before = copier.state_bytes(snapshot)
    surface.fill((255, 0, 0))
    root.value, root.surface = 2, None
    copier.load(snapshot)
    assert root.surface is surface
    assert root.value == 1
    assert surface.get_at((0, 0))[:3] == (255, 0, 0)
    assert copier.state_bytes(copier.save()) == before


def test_arrays_of_jax_are_kept_as_they_are() -> None:
    jax = pytest.importorskip("jax")
    root = Thing(place=jax.numpy.arange(3.0), key=jax.random.key(4))
    copier = Copier(root)
    snapshot, kept = copier.save(), root.place

    def move() -> float:
        root.key, drawn = jax.random.split(root.key)
        root.place = root.place.at[0].add(jax.random.normal(drawn))
        return float(root.place[0])

    first = [move() for _ in range(3)]
    assert copier.state_bytes(copier.save()) != copier.state_bytes(snapshot)
    copier.load(snapshot)
    assert root.place is kept
    assert [move() for _ in range(3)] == first
    assert bytes_of(Thing(v=kept)) == bytes_of(Thing(v=jax.numpy.arange(3.0))) != bytes_of(Thing(v=kept + 1))


# -- refusals ----------------------------------------------------------------------------------------------------------


class Attributed(tuple):  # type: ignore[type-arg]  # noqa: SLOT001
    """A tuple that carries more than its items."""


class SlottedDict(dict):  # type: ignore[type-arg]
    __slots__ = ("more",)


def attributed() -> Attributed:
    value = Attributed((1, 2))
    value.more = [3]  # type: ignore[attr-defined]
    return value


class Struct(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ctypes.c_int(3), "get_state"),
        (Struct(1), "replay"),
        (ctypes.create_string_buffer(4), "get_state"),
        ((n for n in range(3)), "generator"),
        (itertools.cycle([1]), "index"),
        (iter([1, 2]), "index"),
        (struct.iter_unpack("B", b"ab"), "get_state"),
        (random.SystemRandom(), "self.np_random"),
        (threading.Thread(target=print), "threads"),
        (memoryview(b"abc"), "get_state"),
        (attributed(), "attributes of its own"),
        (SlottedDict(), "without slots"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_looked_into_is_refused_by_its_path(value: Any, words: str) -> None:
    copier = Copier(Thing(env=Thing(parts=[1, {"deep": value}])))
    with pytest.raises(Unsafe, match=words) as refused:
        copier.save()
    assert refused.value.field == "env.parts[1]['deep']"
    assert type(value).__qualname__ in refused.value.value


class NoModule(type):
    """Like classes that SWIG makes."""

    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise AttributeError("__module__")


def test_classes_without_a_module_are_named() -> None:
    class Swig(metaclass=NoModule):
        pass

    assert type_name(Swig).endswith("Swig")
    assert type_name(Thing) == "tests.adapters.things.Thing"
    Copier(Thing(handle=Swig())).save()


def test_a_snapshot_belongs_to_its_instance() -> None:
    one, other = Copier(Thing(a=[1])), Copier(Thing(a=[1]))
    with pytest.raises(Unsafe, match="another instance"):
        other.load(one.save())


def test_a_state_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.games.snapshot.object_graph.MAX_OBJECTS", 1000)
    with pytest.raises(Unsafe, match="1000 objects"):
        Copier(Thing(many=[[n] for n in range(1001)])).save()
