"""Files in any of the forms that can be compared, as one flat table of facts."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from rollgym.dataset.compare.cells import Cells, read_cells
from rollgym.dataset.compare.text_files import is_text_file, read_text_file, stem_of
from rollgym.dataset.flat_infos import is_json
from rollgym.dataset.flat_table import OWN_PREFIXES, beside, facts
from rollgym.dataset.json_text import to_json
from rollgym.dataset.provenance import provenance
from rollgym.dataset.tables import BAD_COLUMNS, METADATA, metadata_json
from rollgym.protocol.column_names import split
from rollgym.protocol.files.parquet import EpisodeFileError, read_arrow, read_layout, read_schema, read_table

FRAME, EPISODE, MATCH = "t", "episode_num", "match"
HEADER = (*("match", "episode", "match_seed", "seed", "game", "settings", "participants", "status", "schema"),)
"""Provenance that is a fact of the episode, and so has to agree."""
_KEY = 1 << 40
"""Frames are below it: a row's key is its episode times this, plus its frame."""


class Flat(Struct):
    """One file's facts."""

    form: str
    path: str
    keys: NDArray[np.int64]
    """Per row, ascending: the frame, and above it the episode if the file has several."""
    several: bool
    """Whether the file has several episodes."""
    columns: dict[str, Cells]
    about: dict[str, Any] | None
    """Provenance and what has no row, as far as the file says. None: of several episodes."""


def form_of(path: Path) -> str:
    """``csv``, ``episode`` or ``flat``. Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
    if not path.is_file():
        raise EpisodeFileError(path, "no such file")
    if is_text_file(path):
        return "csv"
    try:
        schema = read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise EpisodeFileError(path, f"not a readable episode: {_line(error)}") from error
    if METADATA in (schema.metadata or {}) or (
        b"rollgym.schema" not in (schema.metadata or {}) and FRAME in schema.names
    ):
        return "flat"
    return "episode"


def read_flat(path: Path, form: str) -> Flat:
    """A file as a flat table.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`, also for a file that has no frame.
    """
    try:
        if form == "csv":
            columns, about = _csv(path)
        elif form == "flat":
            columns, about = _parquet(path)
        else:
            columns, about = _episode(path)
        keys, several = _keys(columns)
        if not len(keys):
            raise ValueError("holds no frame")
        order = np.argsort(keys, kind="stable")
        if (order[1:] < order[:-1]).any():  # somebody has sorted the rows by something else
            keys, columns = keys[order], {name: column.taken(order) for name, column in columns.items()}
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if twice.size:
            raise ValueError(f"column {FRAME}: two rows of frame {keys[twice[0]] % _KEY}")
    except (*BAD_COLUMNS, OSError) as error:
        raise EpisodeFileError(path, _line(error)) from error
    kept = {
        name: column
        for name, column in columns.items()
        if split(name, ".")[0] not in (*OWN_PREFIXES, FRAME) and not _is_row_number(name, column)
    }
    return Flat(form, os.fspath(path), keys, several, kept, about if several else _named(kept, about or {}))


def _is_row_number(name: str, column: Cells) -> bool:
    """The index that pandas writes beside the columns: 0 to the number of rows, in any order."""
    if name != "__index_level_0__" and re.fullmatch(r"(Unnamed: \d+)?", name) is None:
        return False
    try:
        rows = np.sort(_integers(column, name))
    except (pa.ArrowException, ValueError):
        return False
    return bool(np.array_equal(rows, np.arange(len(rows))))


def _named(columns: dict[str, Cells], about: dict[str, Any]) -> dict[str, Any]:
    """Take what says in every row whose rows these are out of the columns, and put it to the provenance."""
    said: dict[str, Any] = {}
    if MATCH in columns:
        said["match"] = str(columns.pop(MATCH).values[0].as_py())
    if EPISODE in columns:
        said["episode"] = int(_integers(columns.pop(EPISODE), EPISODE)[0])
    return {**about, **said}


_TYPES = {
    "rewards": pa.float64(),
    "terminateds": pa.bool_(),
    "truncateds": pa.bool_(),
    "inputSource": pa.uint8(),
    "stateDigest": pa.uint64(),
}
"""By the first part of its name, the type that a column has in every file."""


def _csv(path: Path) -> tuple[dict[str, Cells], dict[str, Any] | None]:
    """Texts, and what the file that ``rollgym export`` puts beside a CSV file says of their types."""
    about = sidecar_provenance(path)
    types = (about or {}).get("columns")
    found = {}
    for name, values in read_text_file(path, FRAME).items():
        said = types.get(name) if isinstance(types, dict) else None
        found[name] = Cells(values, "json") if said == "json" else _as_type(name, Cells(values, "text"), said)
    return found, about


def _as_type(name: str, cells: Cells, said: Any) -> Cells:
    """A column of text as the type that it was written with, if one is known and every cell can be read as it."""
    first = split(name, ".")[0]
    try:
        kind = _TYPES.get(first) if said is None else pa.type_for_alias(str(said))
    except ValueError:
        return cells
    if kind is None:
        return cells
    read = read_cells(cells.values, kind)
    if read.null_count != cells.values.null_count:
        return cells
    if pa.types.is_floating(kind) and first != "infos":
        # Only infos may lack a value: others take NaN for none.
        read = pc.fill_null(read, pa.scalar(math.nan).cast(kind))
    return Cells(read)


def sidecar_of(path: Path) -> Path:
    """Where ``rollgym export`` puts the JSON file of a CSV file."""
    return path.with_name(f"{stem_of(path)}.json")


def sidecar_provenance(path: Path) -> dict[str, Any] | None:
    """What that file says, if there is one. Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
    beside_it = sidecar_of(path)
    if not beside_it.is_file():
        return None
    try:
        return metadata_json(beside_it.read_bytes())
    except ValueError as error:
        raise EpisodeFileError(beside_it, f"no JSON: {error}") from error


def _parquet(path: Path) -> tuple[dict[str, Cells], dict[str, Any] | None]:
    table = read_arrow(path)
    metadata = table.schema.metadata or {}
    about = metadata_json(metadata.get(METADATA))
    ours = METADATA in metadata and b"pandas" not in metadata
    return {f.name: _cells(f, table.column(f.name).combine_chunks(), ours) for f in table.schema}, about


def _cells(field: pa.Field, values: pa.Array, ours: bool) -> Cells:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if is_json(field):
        return Cells(values, "json")
    if ours:
        return Cells(values)
    text = Cells(values, "text" if pa.types.is_string(values.type) else "numbers")
    if pa.types.is_null(values.type):
        text = Cells(values.cast(pa.string()), "text")
    return _as_type(field.name, text, None) if text.form == "text" else _without_gaps(field.name, text)


def _without_gaps(name: str, cells: Cells) -> Cells:
    kind = cells.values.type
    if pa.types.is_floating(kind) and split(name, ".")[0] != "infos":
        return cells._replace(values=pc.fill_null(cells.values, pa.scalar(math.nan).cast(kind)))
    return cells


def _episode(path: Path) -> tuple[dict[str, Cells], dict[str, Any]]:
    if read_layout(path).canonical is None:
        raise ValueError("holds one peer's own part only, no canonical frames")
    layout, table = read_table(path)
    # By way of JSON, as the other forms have it: tuples are lists, bytes are hex.
    about: dict[str, Any] = json.loads(to_json({**provenance(layout), **beside(layout, table)}))
    columns = facts(layout, table)
    return {
        n: Cells(column.values, "json" if is_json(column.field) else "known") for n, column in columns.items()
    }, about


def _keys(columns: dict[str, Cells]) -> tuple[NDArray[np.int64], bool]:
    if FRAME not in columns:
        raise ValueError(f"no column {FRAME}, which numbers the frames")
    keys = _integers(columns[FRAME], FRAME)
    if keys.size and not 0 <= keys.min() <= keys.max() < _KEY:
        raise ValueError(f"column {FRAME}: expected frames from 0")
    several = False
    if EPISODE in columns:
        episodes = _integers(columns[EPISODE], EPISODE)
        several = bool(episodes.size) and bool((episodes != episodes[0]).any())
        if several:
            if not 0 <= episodes.min() <= episodes.max() < 1 << 22:
                raise ValueError(f"column {EPISODE}: expected episodes from 0")
            keys = episodes * _KEY + keys
    return keys, several


def _integers(cells: Cells, name: str) -> NDArray[np.int64]:
    values = cells.values
    if values.null_count:
        raise ValueError(f"column {name}: a value is missing")
    if pa.types.is_string(values.type):
        read = read_cells(values, pa.int64())
        if read.null_count:
            wrong = values.filter(read.is_null())[0].as_py()
            raise ValueError(f"column {name}: {wrong!r}: expected whole numbers")
        values = read
    found: NDArray[np.int64] = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def place_of(key: int, several: bool) -> tuple[int | None, int]:
    """The episode (if the files have several) and the frame of a key."""
    return (key // _KEY if several else None), key % _KEY


def _line(error: BaseException) -> str:
    if isinstance(error, EpisodeFileError):
        return error.reason
    return (str(error).strip() or type(error).__name__).splitlines()[0]
