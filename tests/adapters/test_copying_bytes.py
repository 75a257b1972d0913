"""The bytes of a snapshot: canonical, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from rollgym.games.snapshot.object_graph import Copier, differing
from tests.adapters.things import Colour, Thing, bytes_of

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
        "import numpy as np; from tests.adapters.things import *; "
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
