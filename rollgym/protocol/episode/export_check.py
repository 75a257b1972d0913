"""Does an export keep to the schema? What peers run before they send, and the server before it believes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.bounds import MAX_INFO_STRUCTURE_BYTES, bounded_value
from rollgym.protocol.episode.column import Column, ExportError
from rollgym.protocol.episode.export import (
    INPUT_GONE,
    INPUT_IDLE,
    INPUT_NPC,
    INPUT_REAL,
    OWN_COLUMNS,
    Canonical,
    Export,
    Header,
    Own,
    canonical_layout,
    content_digest,
)
from rollgym.protocol.episode.values import ValueFormatError, pack_value, unpack_value
from rollgym.protocol.version import EPISODE_SCHEMA


def check_export(export: Export) -> None:
    """Schema, contiguity and digest. Raises :class:`ExportError` that names the first field that is wrong."""
    header, canonical, own = export.header, export.canonical, export.own
    if header.schema != EPISODE_SCHEMA:
        raise ExportError("header.schema", f"{header.schema}: expected {EPISODE_SCHEMA}")
    players = len(header.participants)
    if not players <= len(header.game.players) or own.player >= players:
        raise ExportError("own.player", f"{own.player}: expected 0..{players - 1}")
    _check_canonical(header, canonical)
    _check_own(header, own)
    try:
        digest = content_digest(header, canonical)
    except (ValueFormatError, TypeError) as error:  # MessagePack has types that plain values have not
        raise ExportError("header", str(error)) from error
    if digest != export.digest:
        raise ExportError("digest", f"{export.digest.hex()}: the content gives {digest.hex()}")


def _check_canonical(header: Header, canonical: Canonical) -> None:
    layout = canonical_layout(header)
    for name, (dtype, rows, shape) in layout.items():
        if name not in canonical.columns:
            raise ExportError(f"canonical.columns.{name}", "missing")
        _check_column(f"canonical.columns.{name}", canonical.columns[name], dtype, rows, shape)
    observed = {joined(["observations", agent], "/") for agent in header.game.agents}
    for name, column in canonical.columns.items():
        if name in layout:
            continue
        parts = name.split("/", 2)
        if "/".join(parts[:2]) not in observed:
            raise ExportError(f"canonical.columns.{name}", "not a column of this schema")
        _check_column(f"canonical.columns.{name}", column, None, header.frames + 1, None)
    for agent in header.game.agents:
        column = canonical.columns[f"actions/{agent}"]
        if len(column.shape) != 2:
            raise ExportError(f"canonical.columns.actions/{agent}", f"shape {column.shape}: expected two axes")
    frames = canonical.columns["frame"].array()
    if not np.array_equal(frames, np.arange(header.frames, dtype=np.uint32)):
        raise ExportError("canonical.columns.frame", f"expected 0..{header.frames - 1} without gaps")
    _check_sources(header, canonical.columns["input_source"].array())
    _check_end(header, canonical)
    previous = (0, 0, "")
    for index, info in enumerate(canonical.infos):
        place = f"canonical.infos[{index}]"
        here = (info.row, info.agent, info.key)
        if info.row > header.frames or info.agent >= len(header.game.agents):
            raise ExportError(place, f"row {info.row}, agent {info.agent}: out of range")
        if index and here <= previous:
            raise ExportError(place, f"{here} after {previous}: expected ascending rows, agents and keys")
        previous = here
        if not bounded_value(info.value):
            raise ExportError(place, f"a structure of {len(info.value)} bytes: at most {MAX_INFO_STRUCTURE_BYTES}")
        try:
            unpack_value(info.value)
        except ValueFormatError as error:
            raise ExportError(place, str(error)) from error


def _check_sources(header: Header, sources: NDArray[Any]) -> None:
    for index, agent in enumerate(header.game.agents):
        allowed = (INPUT_NPC,) if agent in header.game.npcs else (INPUT_REAL, INPUT_IDLE, INPUT_GONE)
        wrong = ~np.isin(sources[:, index], allowed)
        if wrong.any():
            frame = int(wrong.argmax())
            expected = " or ".join(map(str, allowed))
            message = f"value {int(sources[frame, index])} at frame {frame} of {agent}: expected {expected}"
            raise ExportError("canonical.columns.input_source", message)


def _check_end(header: Header, canonical: Canonical) -> None:
    if header.frames == 0:
        if header.status == "complete":
            raise ExportError("header.status", "complete, but there is no frame")
        return
    over = canonical.columns["terminations"].array() | canonical.columns["truncations"].array()
    ends = np.flatnonzero(over.all(axis=1))
    if header.status == "complete" and (ends.size == 0 or int(ends[0]) != header.frames - 1):
        where = f"frame {int(ends[0])}" if ends.size else "no frame"
        raise ExportError("header.status", f"complete, but {where} ends the episode (last is {header.frames - 1})")
    if header.status != "complete" and ends.size and int(ends[0]) != header.frames - 1:
        raise ExportError("header.frames", f"{header.frames}, but frame {int(ends[0])} ends the episode")


def _check_own(header: Header, own: Own) -> None:
    for name, dtype in OWN_COLUMNS.items():
        if name not in own.columns:
            raise ExportError(f"own.columns.{name}", "missing")
        _check_column(f"own.columns.{name}", own.columns[name], dtype, header.frames, ())
    seen = own.columns.get("seen_frame")
    for name, column in own.columns.items():
        if name in OWN_COLUMNS:
            continue
        if (name != "seen_frame" and not name.startswith("seen/")) or seen is None:
            raise ExportError(f"own.columns.{name}", "not a column of this schema")
        _check_column(f"own.columns.{name}", column, "<u4" if name == "seen_frame" else None, seen.shape[0], None)
    if own.tail is not None and not len(own.tail.inputs) == len(own.tail.real) == len(own.tail.rewards):
        raise ExportError("own.tail", "inputs, real and rewards differ in length")
    for name in ("stats", "policy"):
        try:
            pack_value(getattr(own, name))
        except ValueFormatError as error:  # a key that is not text would become one on the way into a file
            raise ExportError(f"own.{name}", str(error)) from error


def _check_column(place: str, column: Column, dtype: str | None, rows: int, row_shape: tuple[int, ...] | None) -> None:
    if dtype is not None and column.dtype != dtype:
        raise ExportError(place, f"dtype {column.dtype}: expected {dtype}")
    if column.shape[0] != rows:
        raise ExportError(place, f"{column.shape[0]} rows: expected {rows}")
    if row_shape is not None and column.shape[1:] != row_shape:
        raise ExportError(place, f"row shape {column.shape[1:]}: expected {row_shape}")
    try:
        column.array()
    except ExportError as error:
        raise ExportError(f"{place}.{error.field}", str(error)) from error
