"""In-place snapshots: exact for anything made of Python and numpy, refused for what Python can not look into."""

from __future__ import annotations

import array
import collections
import copy
import ctypes
import enum
import functools
import io
import itertools
import logging
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pygame
import pytest
from gymnasium import spaces
from gymnasium.utils import EzPickle
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.copy_spaces import seed_spaces
from rollgym.games.copying import Copier, differing
from rollgym.games.errors import Unsafe
from rollgym.games.plain import type_name


class Thing:
    """An object with whatever attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


class Slotted:
    __slots__ = ("__hidden", "other", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.__hidden = [1]

    def grow(self) -> None:
        self.__hidden.append(2)

    @property
    def hidden(self) -> list[int]:
        return self.__hidden


class Both(Slotted):
    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.extra = {"a": 1}


class Colour(enum.Enum):
    RED = 1


Point = collections.namedtuple("Point", "x y")


def bytes_of(value: Any) -> bytes:
    copier = Copier(value)
    return copier.state_bytes(copier.save())


# -- exactness ---------------------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(lambda v: Thing(held=v), inner)
        | st.builds(lambda v: np.array([1.5, len(repr(v))]), inner)
    ),
    max_leaves=12,
)


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


def test_things_of_the_standard_library_that_count_and_remember() -> None:
    text = io.StringIO("abc")
    text.seek(1)
    clicks: Any = lambda: None  # noqa: E731 - a function that carries something
    clicks.made = [0]
    kept: dict[str, list[int]] = {"new": []}
    root = Thing(
        numbers=itertools.count(3, 2),
        beside=[itertools.count(0.5)],
        flag=threading.Event(),
        lock=threading.Lock(),
        here=threading.local(),
        text=text,
        raw=io.BytesIO(b"ab"),
        clicks=clicks,
        named=named_default,
        made=collections.defaultdict(lambda: kept["new"].append(1)),
    )
    root.closed_over = (lambda numbers: lambda: next(numbers))(itertools.count())
    root.here.count = [1]
    copier = Copier(root)

    def play() -> list[Any]:
        made = [next(root.numbers), next(root.beside[0]), root.flag.is_set(), root.lock.locked(), root.text.read()]
        made += [root.raw.getvalue(), list(clicks.made), root.named(), root.made[len(root.made)], root.closed_over()]
        made += [root.here.count.copy(), getattr(clicks, "late", None)]
        root.text.write("tail")
        root.raw.write(b"xyz")
        root.flag.set()
        root.lock.acquire(blocking=False)
        clicks.made.append(len(clicks.made))
        clicks.late = True
        root.here.count.append(2)
        return made

    snapshot = copier.save()
    before = copier.state_bytes(snapshot)
    first = [play() for _ in range(3)]
    assert copier.state_bytes(copier.save()) != before
    for _ in range(2):
        copier.load(snapshot)
        assert copier.state_bytes(copier.save()) == before
        assert [play() for _ in range(3)] == first


def named_default(*, known: list[int] = []) -> int:  # noqa: B006 - the point of it
    known.append(1)
    return len(known)


def test_what_can_only_be_copied_is_refused_where_nothing_can_be_hung() -> None:
    copier = Copier(Thing(env=Thing(pair=(itertools.count(), 1))))
    with pytest.raises(Unsafe, match="held by an attribute, a list or a dict") as refused:
        copier.save()
    assert refused.value.field == "env.pair[0]"


@functools.lru_cache
def remembered(value: int) -> int:
    return value


def test_a_cache_of_a_function_is_kept_as_it_is() -> None:
    root = Thing(plan=remembered, at=1)
    copier = Copier(root)
    snapshot = copier.save()
    root.at = root.plan(5)
    assert copier.state_bytes(copier.save()) != copier.state_bytes(snapshot)
    copier.load(snapshot)
    assert (root.at, root.plan) == (1, remembered)


def test_read_only_arrays_come_back_with_their_lock() -> None:
    whole = np.arange(6.0)
    root = Thing(locked_later=np.arange(3), opened=np.arange(3), view=whole[1:3], base=whole)
    root.opened.flags.writeable = False
    copier = Copier(root)
    snapshot = copier.save()
    before = copier.state_bytes(snapshot)
    root.locked_later[0] = 9
    root.locked_later.flags.writeable = False
    root.opened.flags.writeable = True
    root.opened[0] = 9
    root.view[0] = 9
    root.view.flags.writeable = whole.flags.writeable = False
    copier.load(snapshot)
    assert copier.state_bytes(copier.save()) == before
    assert [a.flags.writeable for a in (root.locked_later, root.opened, root.view, whole)] == [True, False, True, True]
    assert whole.tolist() == [0, 1, 2, 3, 4, 5]


def test_what_spaces_sample_follows_from_the_seed_and_costs_nothing_until_it_is_drawn() -> None:
    def root() -> tuple[Any, Copier]:
        made = Thing(space=spaces.Dict(a=spaces.Discrete(1000), b=spaces.Tuple([spaces.Discrete(1000)])))
        made.space.sample()  # a generator with a seed of the system's, as batch_space leaves one
        return made, Copier(made)

    def draw(made: Any) -> list[Any]:
        return [(s["a"], s["b"]) for s in (made.space.sample() for _ in range(3))]

    (one, copier), (two, other) = root(), root()
    for its in (copier, other):
        seed_spaces([item for item in its.reached(its.save()) if isinstance(item, spaces.Space)], 7)
    undrawn = copier.save()
    assert copier.state_bytes(undrawn) == other.state_bytes(other.save())
    assert len(undrawn.records) == 5  # the root and four spaces: no generators
    held = one.space["a"].np_random
    first = [draw(one), held.integers(1000)]
    drawn = copier.save()
    assert len(drawn.records) > len(undrawn.records)
    assert copier.state_bytes(drawn) != copier.state_bytes(undrawn)
    assert [draw(two), two.space["a"].np_random.integers(1000)] == first
    again = draw(one)
    copier.load(undrawn)
    assert [draw(one), held.integers(1000)] == first
    copier.load(drawn)
    assert draw(one) == again
    assert copy.deepcopy(one.space).sample() is not None


def test_what_can_never_change_is_looked_at_once() -> None:
    plan = {
        ((x, y), Colour.RED): (frozenset({(x, 1.5), (y, "b")}), np.float32(x)) for x in range(30) for y in range(30)
    }
    root = Thing(plan=plan, deep=([1], (2, {"a": 3})), at=0)
    copier = Copier(root)
    snapshot = copier.save()
    assert len(snapshot.records) == 6  # the root, the table, two tuples with what may change in them: a list and a dict
    root.deep[0].append(2)
    root.deep[1][1]["a"] = 4
    root.plan[(0, 0), Colour.RED] = ()
    copier.load(snapshot)
    assert root.deep == ([1], (2, {"a": 3}))
    assert len(plan[(0, 0), Colour.RED]) == 2


@given(plain, plain)
def test_bytes_do_not_depend_on_what_was_seen_before(value: Any, other: Any) -> None:
    used = Copier(Thing(value=other))
    used.state_bytes(used.save())
    used.root.value = [value, (value, other)]
    new = Thing(value=copy.deepcopy([value, (value, other)]))
    # Who is whom counts for what can change: a deep copy keeps that.
    assert used.state_bytes(used.save()) == bytes_of(new)


def test_large_arrays_are_copied_when_they_change_and_only_then() -> None:
    many = np.full((200, 100), np.nan)
    root = Thing(map=many, view=many[::2], when=np.zeros(9000, "M8[s]"))
    copier = Copier(root)

    def contents() -> dict[int, Any]:
        return {id(item): content[0] for item, _, content in copier.save().records if isinstance(item, np.ndarray)}

    snapshot = copier.save()
    first, again = contents(), contents()
    assert first[id(many)] is again[id(many)]
    assert first[id(root.when)] is again[id(root.when)]
    before = copier.state_bytes(snapshot)
    other = many.copy()
    assert copier.state_bytes(copier.save()) == before
    assert bytes_of(Thing(map=other, view=other[::2], when=root.when)) == before
    many[3, 4] = 1.0
    assert contents()[id(many)] is not first[id(many)]
    assert np.isnan(first[id(many)]).all()
    changed = copier.state_bytes(copier.save())
    assert changed != before
    many[3, 4] = 2.0
    assert copier.state_bytes(copier.save()) not in (before, changed)
    copier.load(snapshot)
    assert np.isnan(many).all()
    assert copier.state_bytes(copier.save()) == before


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
def test_what_can_not_be_looked_into_is_refused_by_its_path(value: Any, words: str) -> None:
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
    assert type_name(Thing) == "tests.adapters.test_copying.Thing"
    Copier(Thing(handle=Swig())).save()


def test_a_snapshot_belongs_to_its_instance() -> None:
    one, other = Copier(Thing(a=[1])), Copier(Thing(a=[1]))
    with pytest.raises(Unsafe, match="another instance"):
        other.load(one.save())


def test_a_state_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollgym.games.copying.MAX_OBJECTS", 1000)
    with pytest.raises(Unsafe, match="1000 objects"):
        Copier(Thing(many=[[n] for n in range(1001)])).save()


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_the_order_of_attributes_and_sets_does_not_count_that_of_dicts_does() -> None:
    one, two = Thing(a=1, b=2), Thing(b=2, a=1)
    assert bytes_of(one) == bytes_of(two)
    assert bytes_of(Thing(v={1: 0, 2: 0})) != bytes_of(Thing(v={2: 0, 1: 0}))
    many, more = set(), set()
    for n in range(50):
        many.add(f"{n}")
        more.add(f"{49 - n}")
    assert bytes_of(Thing(v=many)) == bytes_of(Thing(v=more))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        (float("nan"), 0.0),
        ("1", b"1"),
        ([1], (1,)),
        (2**70, 2**71),
        (np.float32(1), np.float64(1)),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2, "i4"), np.zeros(2, "u4")),
        ({1}, frozenset({1})),
        (Colour.RED, 1),
        ("a", "a\ud800"),
    ],
)
def test_different_values_have_different_bytes(one: Any, two: Any) -> None:
    assert bytes_of(Thing(v=one)) != bytes_of(Thing(v=two))
    assert list(differing(fields_of(one), fields_of(two)))


def fields_of(value: Any) -> dict[str, Any]:
    copier = Copier(Thing(v=value))
    return copier.fields(copier.save())


def test_who_is_whom_counts() -> None:
    shared = [1]
    assert bytes_of(Thing(a=shared, b=shared)) != bytes_of(Thing(a=[1], b=[1]))


def test_texts_since_construction_do_not_count_as_they_may_be_paths() -> None:
    def at(path: str, later: str) -> bytes:
        root = Thing(path=path, mode="idle")
        copier = Copier(root)
        copier.mark_constant(copier.save())
        root.mode = later
        return copier.state_bytes(copier.save())

    assert at("/here", "idle") == at("/there", "idle")
    assert at("/here", "run") != at("/here", "idle")
    assert at("/here", "run") != at("/here", "walk")


def test_fields_have_paths() -> None:
    root = Thing(world=Thing(agents=[Thing(place=np.array([1.0, 2.0]))], names={"a": 1}))
    copier = Copier(root)
    first = copier.fields(copier.save())
    root.world.agents[0].place[1] = 3
    root.world.names["a"] = 2
    again = copier.fields(copier.save())
    assert [path for path, _, _ in differing(first, again)] == ["world.names['a']", "world.agents[0].place"]


def test_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import numpy as np; from tests.adapters.test_copying import *; "
        "t = [Thing(n=n) for n in range(4)]; "
        "print(bytes_of(Thing(words={str(n) for n in range(30)}, f=bytes_of, k=Thing, who=set(t), all=t,"
        " r=np.random.default_rng(3), d={'a': Colour.RED})).hex())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    }
    assert len(seen) == 1
