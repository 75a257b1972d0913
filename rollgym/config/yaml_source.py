"""YAML with two things that plain loading loses: the line of every key, and keys that are given twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rollgym.protocol.column_names import is_writable
from rollgym.study.key_paths import KeyPath


class YamlError(ValueError):
    """Text that is not usable YAML. ``line`` counts from 1, or is None."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


class Source(NamedTuple):
    """A file's values, and the line of each key path."""

    values: Any
    lines: dict[KeyPath, int]


def read_yaml(path: Path) -> Source:
    """Read one file. Raises ``OSError``, and :class:`YamlError` for anything wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(None, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        raise YamlError(None, f"character {error.character:#x} at position {error.position}: {error.reason}") from error
    try:
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is None:
            return Source(None, lines)
        _walk(loader, node, (), lines, frozenset())
        return Source(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(None if mark is None else mark.line + 1, error.problem or "not valid YAML") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(None, str(error).splitlines()[0]) from error
    finally:
        loader.dispose()


def _walk(
    loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], above: frozenset[int]
) -> None:
    if id(node) in above:
        raise YamlError(node.start_mark.line + 1, "an alias contains itself")
    above |= {id(node)}
    if isinstance(node, yaml.ScalarNode) and not is_writable(node.value):
        raise YamlError(node.start_mark.line + 1, f"{node.value!r}: expected text that has UTF-8 bytes")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _walk(loader, item, (*path, index), lines, above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise YamlError(line, f"key {key!r}: expected text")
            if key in seen:
                name = ".".join(map(str, (*path, key)))
                raise YamlError(line, f"{name}: given twice, first in line {seen[key]}")
            seen[key] = line
            lines[(*path, key)] = line
            _walk(loader, value_node, (*path, key), lines, above)
