"""Keys of an experiment file as factors name them: ``network.latency``, ``bots.1.policy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KeyPath = tuple[str | int, ...]

MOST_ITEMS = 64
"""Items that a list can be made to have by naming one beyond its end."""


def key_path(text: str) -> KeyPath:
    """The parts of a key, numbers as places in a list. Raises ``ValueError``."""
    parts = text.split(".")
    if not all(parts):
        raise ValueError(f"{text!r}: expected a key such as network.latency or bots.1.policy")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def changed(values: Any, changes: Mapping[KeyPath, Any]) -> Any:
    """A file's values with others at some keys; what was given stays as it is.

    Sections that are not there are made; a section that is a mere name (``network: wifi``) gives way to one with
    keys. Raises ``ValueError`` if a key leads through a value that has no keys, or far beyond a list.
    """
    for path, value in changes.items():
        values = _with(values, path, value, path)
    return values


def _with(values: Any, path: KeyPath, value: Any, whole: KeyPath) -> Any:
    if not path:
        return value
    part, *rest = path
    if isinstance(part, int):
        if not isinstance(values, list | None):
            raise ValueError(f"{_text(whole)}: {part} is a place in a list, and there is none")
        items = list(values or ())
        if part >= MOST_ITEMS:
            raise ValueError(f"{_text(whole)}: expected a place below {MOST_ITEMS}")
        items += [{} for _ in range(part + 1 - len(items))]
        items[part] = _with(items[part], tuple(rest), value, whole)
        return items
    if isinstance(values, list):
        raise ValueError(f"{_text(whole)}: {part!r} is no place in a list: expected a number")
    section = dict(values) if isinstance(values, dict) else {}
    section[part] = _with(section.get(part), tuple(rest), value, whole)
    return section


def _text(path: KeyPath) -> str:
    return ".".join(map(str, path))
