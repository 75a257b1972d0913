"""Snapshots of things of the standard library, of arrays and spaces, and of what never changes."""

from __future__ import annotations

import collections
import copy
import functools
import io
import itertools
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given

from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.gym_spaces import seed_spaces
from rollgym.games.snapshot.object_graph import Copier
from tests.adapters.things import Colour, Thing, bytes_of, plain


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
