"""Memory is bounded by the window and the saving rule, not by the length of play."""

from __future__ import annotations

from collections import deque

import pytest

from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.settings import SessionSettings
from tests.rollback.toy import Bare

FRAMES = 50_000


def entries(thing: object, seen: set[int] | None = None) -> int:
    """Entries of all containers inside the core's objects, each counted once."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if type(thing).__module__.startswith("rollgym.client_sim.rollback"):
        names = set(getattr(thing, "__dict__", ()))
        for base in type(thing).__mro__:
            names.update(getattr(base, "__slots__", ()))
        return sum(entries(getattr(thing, name, None), seen) for name in names)
    if isinstance(thing, dict):
        return len(thing) + sum(entries(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple | set | bytearray | deque):
        return len(thing) + sum(entries(value, seen) for value in thing if not isinstance(value, int | bytes))
    return 0


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("early", [20, 1, -6])
def test_bounded(early: int, every: int) -> None:
    """The other's inputs come ``early`` frames early, always (or that much late)."""
    simulation = Bare()
    session = Session(simulation, [b"\x00"] * 2, [0], SessionSettings(0, 8, every, 10))
    sent = 0
    sizes = []
    for frame in range(FRAMES):
        while sent < frame + early:
            session.add_inputs(1, sent, [bytes((sent // 7 % 4,))])
            sent += 1
        assert session.settle() is SessionProgress.READY
        session.step([bytes((frame // 5 % 4,))])
        if frame % 100 == 0:
            sizes.append(entries(session))
    assert session.canonical > FRAMES - 20
    assert (session.stats.rollbacks > 1000) == (early < 0)
    assert max(sizes) < 4000
    half = len(sizes) // 2
    # Fronts are cut in blocks of some hundred entries, so sizes go up and down.
    assert max(sizes[half:]) <= max(sizes[:half]) + 100, "it grows with the length of play"
