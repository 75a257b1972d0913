"""What must not matter and yet may: global random generators, the clock, and variables outside of the environment."""

from __future__ import annotations

import random
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xxhash

from rollgym.games.contract import Game
from rollgym.games.copying import Copier
from rollgym.games.errors import Unsafe
from rollgym.games.plain import plain_bytes


@contextmanager
def global_random(seed: int) -> Iterator[None]:
    """Python's and numpy's global generators in a known state; afterwards they are as before."""
    python, numpy = random.getstate(), np.random.get_state()
    seed_global_random(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_global_random(seed: int) -> None:
    """Both global generators from one number."""
    random.seed(seed)
    np.random.seed(seed % 2**32)


def drawn_from() -> tuple[bytes, bytes]:
    """Digests of both global generators' states: they change when somebody draws."""
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return plain_bytes([random.getstate()]), plain_bytes([state])


_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


@contextmanager
def clock(start: float, step: float) -> Iterator[None]:
    """The functions of :mod:`time` count up from ``start`` by ``step`` seconds a call, instead of telling the time.

    Code that has bound the functions under names of its own keeps the real ones, and so does C code.
    """
    real = {name: getattr(time, name) for base in _CLOCKS for name in (base, f"{base}_ns")}
    now = start

    def tick() -> float:
        nonlocal now
        now += step
        return now

    for name in _CLOCKS:
        setattr(time, name, tick)
        setattr(time, f"{name}_ns", lambda: int(tick() * 1e9))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(time, name, function)


_LIBRARIES = frozenset(
    {
        *("numpy", "scipy", "gymnasium", "pettingzoo", "pygame", "mujoco", "pyspiel", "shimmy", "torch", "jax"),
        *("games", "rollgym", "client_sim", "protocol", "server", "typing_extensions"),
    }
) | frozenset(sys.stdlib_module_names)


class Outside:
    """The variables of the modules that an environment's classes are from, and of those classes.

    They are shared by all instances and by all frames: no snapshot of one environment contains them.
    """

    def __init__(self, game: Game) -> None:
        modules = {kind.__module__ for kind in _kinds_of(game)}
        self.modules = sorted(m for m in modules if m in sys.modules and m.partition(".")[0] not in _LIBRARIES)
        self._before = self._digests()

    def changed(self) -> list[str]:
        """Names of the variables that are not what they were, such as ``package.module.counter``."""
        now = self._digests()
        names = [*self._before, *(name for name in now if name not in self._before)]
        return [name for name in names if self._before.get(name) != now.get(name)]

    def _digests(self) -> dict[str, str]:
        return {name: _digest(value) for name, value in self._variables()}

    def _variables(self) -> Iterator[tuple[str, Any]]:
        for module_name in self.modules:
            for name, value in list(vars(sys.modules[module_name]).items()):
                if isinstance(value, type) and value.__module__ == module_name:
                    yield from _data(f"{module_name}.{name}", list(vars(value).items()))
                else:
                    yield from _data(module_name, [(name, value)])


_NOT_DATA = (
    *(types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, property, classmethod, staticmethod),
    *(types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType, types.GenericAlias),
)


def _data(prefix: str, items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in items:
        if not name.startswith("__") and not isinstance(value, _NOT_DATA):
            yield f"{prefix}.{name}", value


def _digest(value: Any) -> str:
    copier = Copier([value])
    try:
        return xxhash.xxh3_128_hexdigest(copier.state_bytes(copier.save()))
    except (Unsafe, RecursionError):
        return "unknown"


def _kinds_of(game: Any) -> set[type]:
    """The classes of everything in the environment, as far as its state method knows them."""
    kinds: set[type] = set()
    for at in _chain(game):
        kinds.update(type(at).__mro__)
        method = getattr(at, "state_method", None)
        if method is not None:
            records = getattr(method.save(), "records", ())
            kinds.update(kind for item, _, _ in records for kind in type(item).__mro__)
    return kinds


def _chain(game: Any) -> Iterator[Any]:
    """A game and what it wraps, down to the innermost environment."""
    seen: set[int] = set()
    while game is not None and id(game) not in seen:
        seen.add(id(game))
        yield game
        held = getattr(game, "__dict__", {})
        game = next((held[name] for name in ("game", "_game", "env", "aec_env", "par_env") if name in held), None)


def wrapped(game: Game, wanted: Callable[[Any], bool]) -> Any | None:
    """The first of a game and what it wraps for which ``wanted`` holds."""
    return next((at for at in _chain(game) if wanted(at)), None)
