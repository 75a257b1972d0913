"""State that libraries keep outside of Python, and the libraries' own ways to save it.

Imported for its effect: :mod:`rollgym.games.snapshot.object_graph` then knows how to take these objects. Nothing is
imported from the libraries; their objects are recognised by the name of their class.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import Env

from rollgym.games.canonical_bytes import plain_bytes, type_name
from rollgym.games.errors import Unsafe
from rollgym.games.snapshot.kinds import Kind, Leaves, Replaced, Stateful, Writer
from rollgym.games.snapshot.kinds_by_type import LEAF, extend

_POOL = 64


class MujocoData(Kind):
    """``MjData``, copied whole.

    The integration state alone (which gives the bytes) would be enough for the physics, but after ``mj_step`` the
    derived quantities belong to the state before it, and environments read them. A new ``MjData`` costs a
    millisecond for its arena, so those of dropped snapshots are used again.
    """

    def __init__(self) -> None:
        import mujoco

        self._mujoco = mujoco
        self._state = mujoco.mjtState.mjSTATE_INTEGRATION
        self._free: dict[int, list[Any]] = {}

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> _Kept:
        model = item.model
        free = self._free.setdefault(id(model), [])
        kept = _Kept(model, free, free.pop() if free else self._mujoco.MjData(model))
        self._mujoco.mj_copyData(kept.data, model, item)
        return kept

    def put(self, item: Any, content: _Kept) -> None:
        self._mujoco.mj_copyData(item, content.model, content.data)

    def write(self, item: Any, content: _Kept, writer: Writer) -> list[Any]:
        return ["MjData", self._vector(content).tobytes()]

    def shown(self, item: Any, content: _Kept) -> Any:
        return self._vector(content)

    def _vector(self, content: _Kept) -> Any:
        vector = np.empty(self._mujoco.mj_stateSize(content.model, self._state))
        self._mujoco.mj_getState(content.model, content.data, vector, self._state)
        return vector


class _Kept:
    """A copy of an ``MjData``; gives it back to the pool when nobody needs it any more."""

    __slots__ = ("data", "free", "model")

    def __init__(self, model: Any, free: list[Any], data: Any) -> None:
        self.model, self.free, self.data = model, free, data

    def __del__(self) -> None:
        if len(self.free) < _POOL:
            self.free.append(self.data)


def _ale_get(ale: Any) -> bytes:
    state = ale.cloneSystemState()
    try:
        return bytes(ale.encodeState(state).tobytes())
    finally:
        ale.deleteState(state)


def _ale_put(ale: Any, content: bytes) -> None:
    # A copy: the library wants a writable buffer.
    state = ale.decodeState(np.frombuffer(content, np.uint8).copy())
    try:
        ale.restoreSystemState(state)
    finally:
        ale.deleteState(state)


def _refuse_sticky(ale: Any, name: Any) -> None:
    if ale.getFloat(name) > 0:
        expected = (
            "repeat_action_probability 0: with sticky actions the emulator repeats an action that its saved state "
            "does not contain, so it goes on differently even after an exact restore"
        )
        raise Unsafe("", type_name(type(ale)), expected)


class NativeState(Kind):
    """An environment with ``get_state()`` and ``set_state(state)`` of its own.

    They are trusted with the simulation. The generator and the bookkeeping that belong to the environment's class
    are taken beside it, because many a ``get_state`` forgets them.
    """

    BESIDE = (
        *("_np_random", "np_random", "agents", "agent_selection", "_skip_agent_selection", "_agent_selector"),
        *("rewards", "_cumulative_rewards", "terminations", "truncations", "infos"),
    )

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        own = item.__dict__
        beside = {name: own[name] for name in self.BESIDE if name in own}
        todo += [part for part in beside.values() if type(part) not in leaves]
        return _detached(item.get_state(), "get_state()"), beside

    def put(self, item: Any, content: Any) -> None:
        state, beside = content
        item.set_state(_detached(state, "get_state()"))
        item.__dict__.update(beside)

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        state, beside = content
        return [
            type(item).__qualname__,
            plain_bytes(state),
            *(part for name in writer.order(tuple(beside)) for part in (name, writer.ref(beside[name]))),
        ]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        return ((f".{name}", part) for name, part in content[1].items())

    def shown(self, item: Any, content: Any) -> Any:
        return content[0]


def _detached(value: Any, path: str) -> Any:
    """A copy of plain data that shares nothing that can change."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise Unsafe(path, "an array of objects", "plain data: numbers, texts, bytes, arrays, and nests of these")
        return value.copy()
    if isinstance(value, dict):
        return {key: _detached(part, f"{path}[{key!r}]") for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_detached(part, f"{path}[{index}]") for index, part in enumerate(value)))
    if isinstance(value, list | tuple):
        return type(value)(_detached(part, f"{path}[{index}]") for index, part in enumerate(value))
    if isinstance(value, set | bytearray):
        return type(value)(value)
    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic | frozenset):
        return value
    expected = "plain data: numbers, texts, bytes, arrays, and nests of these; or adapter={snapshot: copy}"
    raise Unsafe(path, type_name(type(value)), expected)


def has_native_state(item: Any) -> bool:
    """Whether an environment can give its state and take it back: ``get_state()``, ``set_state(state)``."""
    kind = type(item)
    if not _is_environment(item):
        return False
    get, put = getattr(kind, "get_state", None), getattr(kind, "set_state", None)
    return callable(get) and callable(put) and _required(get) == 1 and _required(put) == 2


def _is_environment(item: Any) -> bool:
    names = ("ParallelEnv", "AECEnv")
    return isinstance(item, Env) or any(
        base.__name__ in names and base.__module__.startswith("pettingzoo") for base in type(item).__mro__
    )


def _required(function: Any) -> int:
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return -1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in given)


def _recognise(item: Any) -> Kind | None:
    kind = type(item)
    module, _, name = type_name(kind).rpartition(".")
    if module.startswith("mujoco") and name == "MjData":
        return MujocoData()
    if module.startswith("multi_agent_ale_py") and name == "ALEInterface":
        _refuse_sticky(item, b"repeat_action_probability")
        return Stateful(_ale_get, _ale_put)
    if module.startswith("ale_py") and name == "ALEInterface":
        _refuse_sticky(item, "repeat_action_probability")
        return Stateful(
            lambda ale: ale.cloneState(include_rng=True).serialize(),
            lambda ale, content: ale.restoreState(_ale_state(content)),
        )
    if module == "pyspiel" and any(base.__name__ == "State" for base in kind.__mro__):
        return Replaced(lambda state: state.clone(), lambda state: [state.serialize(), str(state)])
    if module.startswith("pyspiel"):
        return LEAF
    return None


def _ale_state(content: bytes) -> Any:
    import ale_py

    return ale_py.ALEState(content)


extend(_recognise)
