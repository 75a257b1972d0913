"""Infos in flat tables: columns of the type that the environment gave, or of JSON where there is no one type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from rollgym.dataset.json_text import to_json
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.files.parquet import Layout, StoredInfo, info_type

JSON_FIELD = {b"rollgym.cells": b"json"}
"""Metadata of a column whose every cell is JSON text: a text in it has quotes of its own."""

BYTES_KEY = "%bytes"
"""JSON has no bytes: they are ``{"%bytes": "00ff"}``."""


def is_json(field: pa.Field) -> bool:
    """Whether a column's cells are JSON."""
    return bool((field.metadata or {}).get(b"rollgym.cells") == b"json")


def json_field(name: str) -> pa.Field:
    """A column of JSON."""
    return pa.field(name, pa.string(), metadata=JSON_FIELD)


def info_name(agent: str, key: str | None) -> str:
    """The column of an info key; without a key that of all keys of the agent, if they share one."""
    return joined(["infos", agent] if key is None else ["infos", agent, key], ".")


def info_field(agent: str, info: StoredInfo) -> pa.Field:
    """An info's column."""
    name = info_name(agent, info.key)
    return json_field(name) if info.type == "packed" else pa.field(name, info_type(info.type))


def info_fields(layouts: Iterable[Layout]) -> dict[tuple[str, str | None], pa.Field]:
    """By agent and key, the column that all these episodes' infos fit into, by their metadata alone.

    Types that disagree give JSON. Key None: an episode with so many keys that they share one column.
    """
    merged: dict[tuple[str, str | None], pa.Field] = {}
    for layout in layouts:
        assert layout.canonical is not None
        agents = layout.header.game.agents
        found: dict[tuple[str, str | None], pa.Field] = {
            (agents[info.agent], info.key): info_field(agents[info.agent], info) for info in layout.canonical.infos
        }
        if layout.canonical.info_list is not None:
            found |= {(agent, None): json_field(info_name(agent, None)) for agent in agents}
        for place, field in found.items():
            known = merged.get(place, field)
            same = known.type == field.type and is_json(known) == is_json(field)
            merged[place] = field if same else json_field(field.name)
    return dict(sorted(merged.items(), key=lambda item: (item[0][0], item[0][1] is not None, item[0][1] or "")))


def info_columns(layout: Layout, table: pa.Table) -> Iterator[tuple[pa.Field, pa.Array]]:
    """An info that came with row ``t + 1`` is what the step of frame ``t`` gave."""
    assert layout.canonical is not None
    agents, frames = layout.header.game.agents, layout.header.frames
    for info in layout.canonical.infos:
        field = info_field(agents[info.agent], info)
        values = table.column(info.column).combine_chunks().slice(1)
        yield field, _unpacked(values) if info.type == "packed" else values.cast(field.type)
    if layout.canonical.info_list is None:
        return
    rows: list[list[dict[str, Any] | None]] = [[None] * frames for _ in agents]
    for row, index, key, value in listed_infos(layout, table):
        if row > 0:
            held = rows[index][row - 1]
            if held is None:
                held = rows[index][row - 1] = {}
            held[key] = unpack_value(value)
    for agent, found in zip(agents, rows, strict=True):
        texts = [None if value is None else info_json(value) for value in found]
        yield json_field(info_name(agent, None)), pa.array(texts, pa.string())


def reset_infos(layout: Layout, table: pa.Table) -> dict[str, dict[str, Any]]:
    """What ``reset`` gave, by agent and key, as JSON has it: arrays are lists, bytes as in every column."""
    assert layout.canonical is not None
    agents = layout.header.game.agents
    found: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
    for info in layout.canonical.infos:
        first = table.column(info.column)[0]
        if first.is_valid:
            value = first.as_py()
            found[agents[info.agent]][info.key] = unpack_value(value) if info.type == "packed" else value
    for row, agent, key, value in listed_infos(layout, table):
        if row == 0:
            found[agents[agent]][key] = unpack_value(value)
    return {agent: _marked(values) for agent, values in found.items()}


def listed_infos(layout: Layout, table: pa.Table) -> Iterator[tuple[int, int, str, bytes]]:
    """Infos that lie in one list in row 0: row, agent, key, packed value."""
    assert layout.canonical is not None
    if layout.canonical.info_list is None:
        return
    for item in table.column(layout.canonical.info_list).combine_chunks().slice(0, 1).flatten().to_pylist():
        yield item["row"], item["agent"], item["key"], item["value"]


def as_field(values: pa.Array, field: pa.Field, wanted: pa.Field) -> pa.Array:
    """A column as it is in the tables of several episodes: of the same type, or JSON where they differ in it."""
    if is_json(field) == is_json(wanted) and field.type == wanted.type:
        return values
    return pa.array([None if value is None else to_json(value) for value in values.to_pylist()], wanted.type)


def info_json(value: Any) -> str:
    """An info, or a part of one, as a cell of JSON."""
    return to_json(_marked(value))


def _unpacked(values: pa.Array) -> pa.Array:
    encoded = values.dictionary_encode()
    texts = [info_json(unpack_value(value)) for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _marked(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        value = value.tolist()
    if isinstance(value, bytes):
        return {BYTES_KEY: value.hex()}
    if isinstance(value, dict):
        return {key: _marked(part) for key, part in value.items()}
    return [_marked(part) for part in value] if isinstance(value, list) else value
