"""What must not matter and yet may: global random generators, and variables outside of the environment."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import xxhash

from rollgym.checking.raised import LIBRARIES
from rollgym.checking.surroundings import Surroundings, within
from rollgym.games.canonical_bytes import plain_bytes
from rollgym.games.contract import Game
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.object_graph import Copier


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


@contextmanager
def surrounded(surroundings: Surroundings) -> Iterator[None]:
    """In surroundings from their beginning, global generators included; afterwards everything is as before."""
    with within(surroundings), global_random(surroundings.luck):
        yield


class Held(Protocol):
    """Something outside of a game that an experiment saves and loads together with it."""

    def save(self) -> Any: ...

    def load(self, saved: Any) -> None: ...


class LuckHeld:
    """The global generators, as if they were part of a game's state."""

    def save(self) -> Any:
        return random.getstate(), np.random.get_state()

    def load(self, saved: Any) -> None:
        random.setstate(saved[0])
        np.random.set_state(saved[1])


_LIBRARIES = frozenset(
    {
        *("numpy", "scipy", "gymnasium", "pettingzoo", "pygame", "mujoco", "pyspiel", "shimmy", "torch", "jax"),
        *("rollgym", "typing_extensions"),
    }
) | frozenset(sys.stdlib_module_names)


class Variable(NamedTuple):
    """A variable of a module, or of a class in one."""

    owner: Any
    attribute: str
    value: Any

    def digest(self) -> str:
        """What tells contents apart; the number of entries for a cache of calls."""
        if isinstance(self.value, _Cache):
            return str(self.value.cache_info().currsize)
        copier = Copier([self.value])
        try:
            return xxhash.xxh3_128_hexdigest(copier.state_bytes(copier.save()))
        except (Unsafe, RecursionError):
            return "unknown"


_Cache = type(lru_cache(lambda: None))


class Outside:
    """The variables of the modules that an environment's classes are from, and of those classes.

    They are shared by all instances and by all frames: no snapshot of one environment contains them. Also of the
    modules of the user's own that those modules use.
    """

    def __init__(self, game: Game) -> None:
        kinds = {kind.__module__ for kind in _kinds_of(game)}
        self.modules = sorted(_with_used(m for m in kinds if m in sys.modules and _is_users(m)))
        self._before = self.digests()
        self.held = VariablesHeld(self._variables())
        """All of them, as they are now and whenever else they are saved."""

    def changed(self, before: Mapping[str, str] | None = None) -> list[str]:
        """Names of the variables that are not what they were, such as ``package.module.counter``."""
        first, now = self._before if before is None else before, self.digests()
        names = [*first, *(name for name in now if name not in first)]
        return [name for name in names if first.get(name) != now.get(name)]

    def digests(self) -> dict[str, str]:
        """What tells the present contents from others, by name."""
        return {name: variable.digest() for name, variable in self._variables().items()}

    def _variables(self) -> dict[str, Variable]:
        found: dict[str, Variable] = {}
        for module_name in self.modules:
            module = sys.modules[module_name]
            for name, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == module_name:
                    found.update(_data(f"{module_name}.{name}", value))
                elif isinstance(value, types.FunctionType) and value.__module__ == module_name:
                    found.update(_carried(f"{module_name}.{name}", value))
                elif not name.startswith("__") and not isinstance(value, _NOT_DATA):
                    found[f"{module_name}.{name}"] = Variable(module, name, value)
        return found


class VariablesHeld:
    """Variables and their contents, as if they were part of a game's state."""

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        self._places = [(variable.owner, variable.attribute) for variable in variables.values()]

    def save(self) -> Any:
        kept = []
        for owner, attribute in self._places:
            value = _present(owner, attribute)
            copier = Copier([value])
            try:
                kept.append((owner, attribute, value, copier, copier.save()))
            except (Unsafe, RecursionError):
                continue
        return kept

    def load(self, saved: Any) -> None:
        for owner, attribute, value, copier, snapshot in saved:
            if isinstance(value, _Cache):
                value.cache_clear()
                continue
            copier.load(snapshot)
            if _present(owner, attribute) is not value:
                setattr(owner, attribute, value)


_NOT_DATA = (
    *(types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, property, classmethod, staticmethod),
    *(types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType, types.GenericAlias),
)


def _data(prefix: str, kind: type) -> Iterator[tuple[str, Variable]]:
    for name, value in list(vars(kind).items()):
        if isinstance(value, types.FunctionType):
            yield from _carried(f"{prefix}.{name}", value)
        elif not name.startswith("__") and not isinstance(value, _NOT_DATA):
            yield f"{prefix}.{name}", Variable(kind, name, value)


def _carried(name: str, function: types.FunctionType) -> Iterator[tuple[str, Variable]]:
    """What a function carries from call to call: attributes, and defaults that can change."""
    own = {key: value for key, value in vars(function).items() if key != "__wrapped__"}
    if own:
        yield f"{name}()", Variable(function, "__dict__", vars(function))
    if any(isinstance(value, _CHANGEABLE) for value in function.__defaults__ or ()):
        yield f"the defaults of {name}()", Variable(function, "__defaults__", function.__defaults__)
    if any(isinstance(value, _CHANGEABLE) for value in (function.__kwdefaults__ or {}).values()):
        yield f"the defaults of {name}()", Variable(function, "__kwdefaults__", function.__kwdefaults__)


_CHANGEABLE = (list, dict, set, bytearray, np.ndarray)


def _present(owner: Any, attribute: str) -> Any:
    if isinstance(owner, types.FunctionType):
        return getattr(owner, attribute)
    return vars(owner).get(attribute)


def _is_users(module: str) -> bool:
    return module.partition(".")[0] not in _LIBRARIES


def _with_used(names: Iterable[str]) -> set[str]:
    """Modules, and the modules of the user's own that they use: those that no installed package brings."""
    found: set[str] = set()
    todo = list(names)
    while todo and len(found) < _MODULES:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for value in list(vars(sys.modules[name]).values()):
            used = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            if isinstance(used, str) and used in sys.modules and _is_users(used):
                file = getattr(sys.modules[used], "__file__", None)
                if file is not None and not file.startswith(LIBRARIES):
                    todo.append(used)
    return found


_MODULES = 200


def _kinds_of(game: Any) -> set[type]:
    """The classes of everything in the environment, as far as its state method knows them."""
    kinds: set[type] = set()
    for at in chain(game):
        kinds.update(type(at).__mro__)
        method = getattr(at, "state_method", None)
        if method is not None:
            records = getattr(method.save(), "records", ())
            kinds.update(kind for item, _, _ in records for kind in type(item).__mro__)
    return kinds


def chain(game: Any) -> Iterator[Any]:
    """A game and what it wraps, down to the innermost environment."""
    seen: set[int] = set()
    while game is not None and id(game) not in seen:
        seen.add(id(game))
        yield game
        held = getattr(game, "__dict__", {})
        game = next((held[name] for name in ("game", "_game", "env", "aec_env", "par_env") if name in held), None)


def wrapped(game: Game, wanted: Callable[[Any], bool]) -> Any | None:
    """The first of a game and what it wraps for which ``wanted`` holds."""
    return next((at for at in chain(game) if wanted(at)), None)
