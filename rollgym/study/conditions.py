"""The conditions of a study: every combination of its factors' levels but those excluded, or those that are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from rollgym.study.key_paths import KeyPath

Levels = Mapping[str, Mapping[str, Mapping[KeyPath, Any]]]
"""Factor, level: the keys that the level sets."""


class Condition(NamedTuple):
    """One cell of the design."""

    name: str
    levels: dict[str, str]
    """Factor: level."""
    changes: dict[KeyPath, Any]
    """What is different from the file: key, value."""


class DesignError(ValueError):
    """``where``: the key path below ``study`` at which the mistake is."""

    def __init__(self, where: KeyPath, message: str) -> None:
        super().__init__(message)
        self.where = where


def check_factors(factors: Levels) -> None:
    """Refuse factors whose order would matter. Raises :class:`DesignError`."""
    owners: dict[KeyPath, str] = {}
    for factor, levels in factors.items():
        for level, changes in levels.items():
            for path in changes:
                for n in range(1, len(path) + 1):
                    other = owners.get(path[:n])
                    if other is not None and other != factor:
                        raise DesignError(("factors", factor, level), f"{_text(path)} is set by {other} too")
        for changes in levels.values():
            owners |= dict.fromkeys(changes, factor)
    for path, factor in owners.items():
        for n in range(1, len(path)):
            other = owners.get(path[:n])
            if other is not None and other != factor:
                raise DesignError(("factors", other), f"{_text(path[:n])} is set by {factor} too, as {_text(path)}")


def full_design(factors: Levels, exclude: Sequence[Mapping[str, str]] = ()) -> list[Condition]:
    """Every combination, the last factor changing fastest, without those that match an exclusion.

    An exclusion matches where every factor that it names has the level that it names. Raises :class:`DesignError` for
    an exclusion that names what is not there or excludes nothing, and if nothing is left.
    """
    for index, exclusion in enumerate(exclude):
        _check_levels(factors, exclusion, ("exclude", index))
    combinations = [dict(zip(factors, levels, strict=True)) for levels in product(*factors.values())]
    hits = [0] * len(exclude)
    kept = []
    for levels in combinations:
        matching = [index for index, exclusion in enumerate(exclude) if exclusion.items() <= levels.items()]
        for index in matching:
            hits[index] += 1
        if not matching:
            kept.append(_condition(factors, levels, name_of(levels)))
    for index, count in enumerate(hits):
        if count == 0 or not exclude[index]:
            raise DesignError(("exclude", index), "it excludes nothing: expected levels of factors")
    if not kept:
        raise DesignError(("exclude",), "nothing is left to play")
    return kept


def listed_design(factors: Levels, listed: Sequence[Mapping[str, str]], names: Sequence[str | None]) -> list[Condition]:
    """The combinations that a file lists; ``names`` has a name for each, or None for one made of its levels.

    A factor that is not given in one leaves the file's own value there. Raises :class:`DesignError`.
    """
    found: dict[str, Condition] = {}
    for index, (levels, given) in enumerate(zip(listed, names, strict=True)):
        _check_levels(factors, levels, ("conditions", index))
        name = given or name_of(levels)
        if name in found:
            raise DesignError(("conditions", index), f"{name!r} is there twice")
        found[name] = _condition(factors, {one: levels[one] for one in factors if one in levels}, name)
    return list(found.values())


def name_of(levels: Mapping[str, str]) -> str:
    """``rtt=120ms,partner=cook``; ``default`` if there are no factors."""
    return ",".join(f"{factor}={level}" for factor, level in levels.items()) or "default"


def _check_levels(factors: Levels, levels: Mapping[str, str], where: KeyPath) -> None:
    for factor, level in levels.items():
        known = factors.get(factor)
        if known is None:
            raise DesignError(
                (*where, factor), f"{factor!r}: expected a factor: {', '.join(factors) or 'none is there'}"
            )
        if level not in known:
            raise DesignError((*where, factor), f"{level!r}: expected a level of {factor}: {', '.join(known)}")


def _condition(factors: Levels, levels: dict[str, str], name: str) -> Condition:
    changes: dict[KeyPath, Any] = {}
    for factor, level in levels.items():
        changes |= factors[factor][level]
    return Condition(name, levels, changes)


def _text(path: KeyPath) -> str:
    return ".".join(map(str, path))
