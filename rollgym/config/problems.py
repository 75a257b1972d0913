"""Mistakes in an experiment file: each with its line, its key, the value and what is allowed."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from rollgym.study.key_paths import KeyPath


class Problem(NamedTuple):
    """One mistake in a file."""

    line: int | None
    key: str
    message: str


class ConfigError(Exception):
    """A configuration that cannot be used. ``problems`` has one entry for each mistake."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(_text(path, problem) for problem in problems))


def _text(path: str, problem: Problem) -> str:
    place = path if problem.line is None else f"{path}:{problem.line}"
    return f"{place}: {problem.key}: {problem.message}" if problem.key else f"{place}: {problem.message}"


def value_problem(root: type[BaseModel], item: dict[str, Any], lines: dict[KeyPath, int]) -> Problem:
    """One of pydantic's errors, found in the file whose keys ``root`` has."""
    where: KeyPath = item["loc"]
    line = line_of(lines, where)
    key = ".".join(map(str, where))
    if item["type"] == "extra_forbidden":
        model = _model_at(root, where[:-1])
        known = [] if model is None else list(model.model_fields)
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return Problem(line, key, f"unknown key; {hint}allowed: {', '.join(known)}")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return Problem(line, key, message)
    return Problem(line, key, f"{short(item['input'])}: {message[0].lower()}{message[1:]}")


def _model_at(root: type[BaseModel], where: KeyPath) -> type[BaseModel] | None:
    """The section that lies at a key path: in a field, in a list of sections, or in a map of them."""
    kind: Any = root
    for part in where:
        if _is_model(kind):
            field = kind.model_fields.get(part)
            kind = None if field is None else field.annotation
        else:
            kind = next((item for item in get_args(kind) if _is_model(item)), None)
    return kind if _is_model(kind) else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def allowed(model: type[BaseModel]) -> str:
    """The keys of a section, for people."""
    return ", ".join(model.model_fields)


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Where a key is, or the nearest one above it that is in the file."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)


def short(value: Any) -> str:
    """A value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
