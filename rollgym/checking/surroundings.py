"""What surrounds a game and must not matter: the clock, random numbers of the process and of the system, the machine.

:func:`within` puts one set of :class:`Surroundings` in the place of the real ones, so that an episode can be played
twice in the same, or in others of which one thing is different. It works by exchanging the functions that tell the
time and draw the numbers. A process that calls :func:`install` before it imports a game exchanges them for good, so
that ``from time import time``, defaults and attributes get the exchanged ones as well. Only C code that asks the system
itself is not reached.

This module needs nothing but the standard library: whatever is imported before :func:`install` keeps what it has.
"""

from __future__ import annotations

import asyncio
import ctypes
import datetime
import gc
import os
import platform
import random
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from rollgym.checking.raised import LIBRARIES, OURS


class Surroundings(NamedTuple):
    """Everything that must not matter, each as a number or two that it follows from."""

    clock: tuple[float, float] = (1_700_000_000.0, 0.013)
    """What the clock says at first, and how much later it is at every look, in seconds."""
    luck: int = 1
    """What ``random`` and ``numpy.random`` are seeded with."""
    entropy: int = 1
    """What the system's random numbers follow from: ``os.urandom``, ``secrets``, seeds of generators without one."""
    machine: int = 0
    """Names of the host and the user, the network card's number, the time zone."""
    hash_seed: int = 1
    """``PYTHONHASHSEED``; only in a process of its own."""


USUAL = Surroundings()
"""What is around while episodes are recorded, and played again."""

OTHER = Surroundings((2_000_268_733.0, 7.7), 99, 7, 1, 2)
"""Another half of the day, weekend, month and year, another luck, another machine: nothing is as usual."""
OTHER_CLOCKS = (OTHER.clock, (1_770_294_661.0, 0.9))
"""The usual clock begins in the night of a Tuesday in November, these in the morning of a Saturday in May and at noon
of a Thursday in February: whatever parts days, weeks or years somewhere tells one of them from another."""

REAL: dict[str, Any] = {}
"""The exchanged functions, by name, as they were."""


class _Present:
    """What the exchanged functions go by."""

    active = False
    now = 0.0
    step = 0.0
    machine = 0
    drawn = random.Random(1)  # noqa: S311 - it stands in for what is to be repeatable
    looks: dict[str, int]
    places: dict[str, list[str]]


_present = _Present()
_present.looks, _present.places = {}, {}

_PLACES = 3


def looks(kind: str) -> int:
    """How often that happened within: ``clock`` read, ``entropy`` drawn, ``process`` number asked for, loop of
    ``asyncio`` begun."""
    return _present.looks.get(kind, 0)


def places(kind: str) -> list[str]:
    """The first places that did so, such as ``my_env.py:12``."""
    return list(_present.places.get(kind, ()))


def forget_looks() -> None:
    """Count from 0 again."""
    _present.looks, _present.places = {}, {}


def _looked(kind: str) -> None:
    count = _present.looks[kind] = _present.looks.get(kind, 0) + 1
    known = _present.places.setdefault(kind, [])
    if count > 200 or len(known) >= _PLACES:
        return  # what looks so often has been seen
    place = _place()
    if place is not None and place not in known:
        known.append(place)


def _place() -> str | None:
    """The innermost line of the user's own code; of a library's, if there is none."""
    found = None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((OURS, "<")):
            here = f"{Path(name).name}:{frame.f_lineno}"
            if not name.startswith(LIBRARIES):
                return here
            found = found or here
        frame = frame.f_back
    return found


# -- the clock ---------------------------------------------------------------------------------------------------------

_COUNTERS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


def _tick() -> float:
    _looked("clock")
    _present.now += _present.step
    return _present.now


def _counter(name: str) -> Callable[[], float]:
    def told() -> float:
        return _tick() if _present.active else float(REAL[name]())

    return told


def _counter_ns(name: str) -> Callable[[], int]:
    def told() -> int:
        return int(_tick() * 1e9) if _present.active else int(REAL[name]())

    return told


def _broken_down(name: str) -> Callable[..., Any]:
    def told(seconds: float | None = None) -> Any:
        return REAL[name](_tick() if seconds is None and _present.active else seconds)

    return told


def _formatted(form: str, *when: Any) -> str:
    given = when or ((REAL["localtime"](_tick()),) if _present.active else ())
    return str(REAL["strftime"](form, *given))


def _as_text(*when: Any) -> str:
    given = when or ((REAL["localtime"](_tick()),) if _present.active else ())
    return str(REAL["asctime"](*given))


def _clock_gettime(which: int) -> float:
    return _tick() if _present.active else float(REAL["clock_gettime"](which))


def _clock_gettime_ns(which: int) -> int:
    return int(_tick() * 1e9) if _present.active else int(REAL["clock_gettime_ns"](which))


def _now(cls: Any, tz: Any = None) -> Any:
    return cls.fromtimestamp(_tick(), tz) if _present.active else REAL["now"].__get__(None, cls)(tz)


def _utcnow(cls: Any) -> Any:
    if _present.active:
        return cls.fromtimestamp(_tick(), datetime.UTC).replace(tzinfo=None)
    return REAL["utcnow"].__get__(None, cls)()


# -- the system's random numbers, and the machine ----------------------------------------------------------------------


def _urandom(size: int) -> bytes:
    if not _present.active:
        return bytes(REAL["urandom"](size))
    _looked("entropy")
    return _present.drawn.randbytes(size)


def _seed_unseeded(generator: random.Random, a: Any = None, version: int = 2) -> None:
    if a is None and _present.active:
        a = int.from_bytes(_urandom(32), "little")
    REAL["seed"](generator, a, version)


def _seed_global(a: Any = None, version: int = 2) -> None:
    _seed_unseeded(random._inst, a, version)


def _getpid() -> int:
    if _present.active:
        _looked("process")
    return int(REAL["getpid"]())


def _gethostname() -> str:
    return f"machine-{_present.machine}" if _present.active else str(REAL["gethostname"]())


def _node() -> str:
    return f"machine-{_present.machine}" if _present.active else str(REAL["node"]())


def _getnode() -> int:
    return 0x020000000000 + _present.machine if _present.active else int(REAL["getnode"]())


def _new_event_loop() -> Any:
    if _present.active:
        _looked("asyncio")
    return REAL["new_event_loop"]()


def environment(surroundings: Surroundings) -> dict[str, str]:
    """Environment variables for a process that is to be in these surroundings."""
    number = surroundings.machine
    names = dict.fromkeys(("HOSTNAME", "USER", "LOGNAME", "USERNAME"), f"machine-{number}")
    return {**names, "TZ": ("UTC0", "NPT-5:45")[number % 2], "PYTHONHASHSEED": str(surroundings.hash_seed)}


# -- exchanging --------------------------------------------------------------------------------------------------------


def _exchanges() -> list[tuple[Any, str, Any]]:
    """Owner, attribute and what it is exchanged for."""
    found: list[tuple[Any, str, Any]] = []
    for name in _COUNTERS:
        found += [(time, name, _counter(name)), (time, f"{name}_ns", _counter_ns(f"{name}_ns"))]
    found += [(time, name, _broken_down(name)) for name in ("localtime", "gmtime", "ctime")]
    found += [(time, "strftime", _formatted), (time, "asctime", _as_text)]
    found += [(time, "clock_gettime", _clock_gettime), (time, "clock_gettime_ns", _clock_gettime_ns)]
    found += [(os, "urandom", _urandom), (random, "_urandom", _urandom), (random.Random, "seed", _seed_unseeded)]
    found += [(random, "seed", _seed_global), (os, "getpid", _getpid), (socket, "gethostname", _gethostname)]
    found += [(platform, "node", _node), (uuid, "getnode", _getnode)]
    found += [(asyncio.events, "new_event_loop", _new_event_loop), (asyncio, "new_event_loop", _new_event_loop)]
    # These two ask the system past everything above; without them uuid1 asks the clock.
    return [*found, (uuid, "_generate_time_safe", None), (uuid, "_UuidCreate", None)]


_EXCHANGES = _exchanges()
_real = {(id(owner), name): getattr(owner, name) for owner, name, _ in _EXCHANGES if hasattr(owner, name)}
REAL.update({name: _real[id(owner), name] for owner, name, _ in _EXCHANGES if (id(owner), name) in _real})
REAL["seed"] = random.Random.__dict__["seed"]
REAL["now"], REAL["utcnow"] = (datetime.datetime.__dict__[name] for name in ("now", "utcnow"))

_installed = False


def _exchange(on: bool) -> None:
    for owner, name, replacement in _EXCHANGES:
        if (id(owner), name) in _real:
            setattr(owner, name, replacement if on else _real[id(owner), name])
    # The class is C's and refuses attributes; what it looks them up in does not. Exchanging the class itself would
    # break whoever compares types, and would not reach those who have imported it.
    kind = datetime.datetime
    (attributes,) = gc.get_referents(kind.__dict__)
    attributes["now"] = classmethod(_now) if on else REAL["now"]
    attributes["utcnow"] = classmethod(_utcnow) if on else REAL["utcnow"]
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def install() -> None:
    """Exchange the functions for good. They do what they always did, but within :func:`within`."""
    global _installed
    if not _installed:
        _exchange(True)
        _installed = True


@contextmanager
def within(surroundings: Surroundings) -> Iterator[None]:
    """In these surroundings, from their beginning: the clock starts anew, and so do the random numbers."""
    outermost = not _present.active and not _installed
    before = _Saved.present() if _present.active else None
    if outermost:
        _exchange(True)
    _present.active = True
    _present.now, _present.step = surroundings.clock
    _present.machine = surroundings.machine
    uuid._last_timestamp = None  # type: ignore[attr-defined]
    _present.drawn = random.Random.__new__(random.Random)
    REAL["seed"](_present.drawn, surroundings.entropy)
    try:
        yield
    finally:
        if before is None:
            _present.active = False
        else:
            before.restore()
        if outermost:
            _exchange(False)


class _Saved(NamedTuple):
    now: float
    step: float
    machine: int
    drawn: Any

    @classmethod
    def present(cls) -> _Saved:
        return cls(_present.now, _present.step, _present.machine, _present.drawn)

    def restore(self) -> None:
        _present.now, _present.step, _present.machine, _present.drawn = self


class ClockHeld:
    """The clock within, as if it were part of a game's state."""

    def save(self) -> float:
        return _present.now

    def load(self, saved: float) -> None:
        _present.now = saved


class EntropyHeld:
    """The system's random numbers within, as if they were part of a game's state."""

    def save(self) -> Any:
        return _present.drawn.getstate()

    def load(self, saved: Any) -> None:
        _present.drawn.setstate(saved)
