"""Infos, as environments give them, shared out among the agents and made plain.

Nothing is left out without its name in ``unrecorded``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from rollgym.games.errors import GameError
from rollgym.games.info import NO_INFO
from rollgym.games.spaces.exact import is_masked_array
from rollgym.protocol.column_names import is_writable
from rollgym.protocol.episode.bounds import MAX_INFOS_PER_ROW, bounded_value
from rollgym.protocol.episode.values import pack_value

VALUE = "value"
"""The key under which an info is recorded that is no mapping."""

MAX_KEY_LENGTH = 256
_MAX_DEPTH = 30
_SURELY_SMALL = 10_000
"""Bytes and elements below which a structure is not measured."""


def shared_out(
    info: Any, keys: Sequence[Hashable], agents: Sequence[str], unrecorded: set[str]
) -> list[Mapping[Any, Any] | None]:
    """An environment's info, as one mapping (or None) per agent.

    What stands in a mapping under an agent's key is that agent's: a mapping as it is, anything else under
    :data:`VALUE`. The other keys are everybody's; an agent's own come before them. A list or tuple with a mapping (or
    None) for each agent is taken apart in their order. Any other info is everybody's, under :data:`VALUE`.
    """
    nobody: list[Mapping[Any, Any] | None] = [None] * len(keys)
    if info is None:
        return nobody
    if isinstance(info, Mapping):
        if not info:
            return nobody
        common = {key: value for key, value in info.items() if key not in keys}
        if len(common) == len(info):
            return [common] * len(keys)
        return [_own(common, info.get(key), name, unrecorded) for key, name in zip(keys, agents, strict=True)]
    if (
        isinstance(info, list | tuple)
        and len(info) == len(keys)
        and all(part is None or isinstance(part, Mapping) for part in info)
    ):
        return list(info)
    return [{VALUE: info}] * len(keys)


def _own(common: dict[Any, Any], own: Any, agent: str, unrecorded: set[str]) -> Mapping[Any, Any]:
    if own is None:
        return common
    mine = own if isinstance(own, Mapping) else {VALUE: own}
    if not common:
        return mine
    unrecorded.update(f"{key} of everybody (for {agent}, who has its own)" for key in mine if key in common)
    return {**common, **mine}


def plain_info(info: Mapping[Any, Any] | None, unrecorded: set[str]) -> Mapping[str, Any]:
    """An info of plain data only, sharing nothing with the environment.

    Keys that cannot be recorded and values without a byte form are left out, and named in ``unrecorded``. Raises
    :class:`~rollgym.games.errors.GameError` for more keys than an episode's file takes.
    """
    if not info:
        return NO_INFO
    if len(info) > MAX_INFOS_PER_ROW:
        raise GameError("info", f"{len(info)} keys", f"at most {MAX_INFOS_PER_ROW} an agent and step")
    kept = {}
    for key, value in info.items():
        if type(key) is not str:
            if not isinstance(key, str):
                unrecorded.add(f"{key!r} (the key is of type {type(key).__name__}, not text)")
                continue
            key = str.__str__(key)
        if len(key) > MAX_KEY_LENGTH or not is_writable(key):
            unrecorded.add(f"{key[:40]!r} (a key of more than {MAX_KEY_LENGTH} characters, or no Unicode text)")
            continue
        try:
            kept[key] = _measured(value)
        except _NotPlain as error:
            unrecorded.add(f"{key} ({error})")
    return kept or NO_INFO


class _NotPlain(Exception):
    """A value that has no byte form; says what it is."""


def _measured(value: Any) -> Any:
    if type(value) in (bool, float, str, type(None)):
        return value
    size = [0]
    made = _plain(value, 0, size)
    if size[0] > _SURELY_SMALL and isinstance(made, list | dict) and not bounded_value(pack_value(made)):
        raise _NotPlain(f"a {type(value).__name__} too large for a structure: arrays may be")
    return made


def _plain(value: Any, depth: int, size: list[int]) -> Any:
    size[0] += 1
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):
        return _array(np.asarray(value), value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str | bytes):
        size[0] += len(value)
        return str.__str__(value) if isinstance(value, str) else bytes(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _NotPlain("int of more than 64 bits")
        return int.__int__(value)
    if isinstance(value, np.ndarray):
        size[0] += value.nbytes
        return _array(value, value.copy())
    if isinstance(value, list | tuple | Mapping):
        if depth >= _MAX_DEPTH:
            raise _NotPlain(f"nested more than {_MAX_DEPTH} deep")
        if isinstance(value, list | tuple):
            return [_plain(part, depth + 1, size) for part in value]
        odd = next((key for key in value if not isinstance(key, str) or not is_writable(key)), None)
        if odd is not None:
            raise _NotPlain(f"has the key {odd!r}, which is no text")
        return {str.__str__(key): _plain(part, depth + 1, size) for key, part in value.items()}
    raise _NotPlain(type(value).__name__)


def _array(array: Any, value: Any) -> Any:
    """Arrays and numpy's scalars keep their type, if it is one that every machine has."""
    dtype = array.dtype
    plain = dtype.kind in "biufSUmM" or dtype.kind == "c"
    if not plain or dtype.hasobject or (dtype.kind in "fc" and dtype.itemsize > 8 * (1 + (dtype.kind == "c"))):
        raise _NotPlain(f"of dtype {dtype}")
    if is_masked_array(value):
        raise _NotPlain("a masked array")
    return value
