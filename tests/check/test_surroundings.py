"""The clock, random numbers and the machine are what they are said to be, however they are asked for."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import random
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rollgym.checking.process_side_effects import LuckHeld, surrounded
from rollgym.checking.surroundings import (
    OTHER,
    OTHER_CLOCKS,
    ClockHeld,
    EntropyHeld,
    Surroundings,
    forget_looks,
    looks,
    places,
    within,
)

USUAL = Surroundings()
CLOCKS: list[Callable[[], Any]] = [
    lambda: time.gmtime(),
    lambda: time.ctime(),
    lambda: time.asctime(),
    lambda: time.time(),
    lambda: time.time_ns(),
    lambda: time.monotonic(),
    lambda: time.perf_counter_ns(),
    lambda: time.process_time(),
    lambda: time.thread_time_ns(),
    lambda: time.localtime(),
    lambda: time.strftime("%A %j %H"),
    lambda: time.clock_gettime(time.CLOCK_REALTIME),
    lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC),
    lambda: datetime.datetime.now(),  # noqa: DTZ005 - one of the ways
    lambda: datetime.datetime.now(datetime.UTC),
    lambda: datetime.datetime.utcnow(),  # noqa: DTZ003 - the same
    lambda: datetime.datetime.today(),  # noqa: DTZ002 - the same
    lambda: datetime.date.today(),  # noqa: DTZ011 - the same
    lambda: uuid.uuid1().time,
]
NUMBERS: list[Callable[[], Any]] = [
    lambda: os.urandom(8),
    lambda: secrets.token_hex(),
    lambda: uuid.uuid4(),
    lambda: random.Random().random(),
    lambda: random.SystemRandom().random(),
    lambda: np.random.default_rng().random(),
    lambda: np.random.RandomState().random_sample(),
    lambda: np.random.SeedSequence().entropy,
]
MACHINE: list[Callable[[], Any]] = [lambda: socket.gethostname(), lambda: platform.node(), lambda: uuid.getnode()]


def asked(way: Callable[[], Any], surroundings: Surroundings) -> Any:
    with surrounded(surroundings):
        return way()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", CLOCKS)
def test_the_clock_says_what_it_is_told_to(way: Callable[[], Any]) -> None:
    forget_looks()
    usual = asked(way, USUAL)
    assert looks("clock") > 0
    assert asked(way, USUAL) == usual
    assert asked(way, USUAL._replace(machine=1, luck=6)) == usual
    others = [asked(way, USUAL._replace(clock=clock)) for clock in OTHER_CLOCKS]
    assert len({repr(value) for value in (usual, *others)}) == 3
    assert way() not in (usual, *others)


def test_every_part_of_a_week_and_a_year_is_told_apart() -> None:
    moments = [time.gmtime(clock[0]) for clock in (USUAL.clock, *OTHER_CLOCKS)]
    for part in ("tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_wday", "tm_min"):
        assert len({getattr(moment, part) for moment in moments}) == 3
    assert {moment.tm_hour >= 12 for moment in moments} == {True, False}
    assert {9 <= moment.tm_hour < 17 for moment in moments} == {True, False}
    assert {moment.tm_wday >= 5 for moment in moments} == {True, False}


@pytest.mark.parametrize("way", NUMBERS)
def test_random_numbers_of_the_system_follow_from_a_seed(way: Callable[[], Any]) -> None:
    forget_looks()
    usual = asked(way, USUAL)
    assert looks("entropy") > 0
    assert asked(way, USUAL._replace(luck=6, clock=OTHER.clock)) == usual != asked(way, USUAL._replace(entropy=2))
    assert way() != usual


@pytest.mark.parametrize("way", MACHINE)
def test_the_machine_has_another_name(way: Callable[[], Any]) -> None:
    assert len({asked(way, USUAL._replace(machine=number)) for number in (0, 1)} | {way()}) == 3


def test_what_is_held_goes_back_with_a_snapshot() -> None:
    def look() -> list[Any]:
        return [time.time(), os.urandom(4), random.random(), np.random.random()]

    held = [ClockHeld(), EntropyHeld(), LuckHeld()]
    with surrounded(USUAL):
        look()
        saved = [one.save() for one in held]  # type: ignore[attr-defined]
        first = look()
        for one, kept in zip(held, saved, strict=True):
            one.load(kept)  # type: ignore[attr-defined]
        assert look() == first


def test_surroundings_may_be_inside_others_and_end_with_what_was_before() -> None:
    with within(USUAL):
        first = time.time()
        with within(OTHER):
            assert time.time() > first + 10**8
        assert time.time() == first + USUAL.clock[1]
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 3600


def test_who_looked_is_known_by_its_line() -> None:
    forget_looks()
    with within(USUAL):
        line = sys._getframe().f_lineno + 1
        time.time()
        asyncio.run(asyncio.sleep(0))
    assert places("clock")[0] == f"test_surroundings.py:{line}"
    assert places("asyncio") == [f"test_surroundings.py:{line + 1}"]


def test_a_process_that_installs_first_misses_no_name() -> None:
    code = (
        "from rollgym.checking.surroundings import *; install(); import datetime as d;"
        "from time import time, monotonic_ns; from os import urandom; from random import seed, random;"
        "from datetime import datetime, date; from secrets import token_hex; from uuid import uuid4\n"
        "def f(t=time): return t(), monotonic_ns(), urandom(3), datetime.now(), date.today(), token_hex(), uuid4()\n"
        "def g(): seed(); return random()\n"
        "seen = []\n"
        "for s in (Surroundings(), Surroundings(), OTHER):\n"
        "    with within(s): seen.append((f(), g()))\n"
        "assert seen[0] == seen[1]\n"
        "assert all(a != b for a, b in zip(seen[0][0], seen[2][0]))\n"
        "assert seen[0][1] != seen[2][1]\n"
        "assert type(d.datetime.now()) is d.datetime and abs(time() - d.datetime.now().timestamp()) < 3600\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
