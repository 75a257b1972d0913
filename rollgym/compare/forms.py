"""Files in any of the forms that can be compared, as one flat table of facts."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from msgspec import Struct
from numpy.typing import NDArray

from rollgym.flat import OWN_PREFIXES, beside, facts
from rollgym.protocol.parquet import EpisodeFileError, read_layout, read_table
from rollgym.provenance import provenance, to_json
from rollgym.tables import BAD_COLUMNS, METADATA

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
    columns: dict[str, pa.Array]
    about: dict[str, Any] | None
    """Provenance and what has no row, as far as the file says. None: of several episodes."""


def form_of(path: Path) -> str:
    """``csv``, ``episode`` or ``flat``. Raises :class:`~rollgym.protocol.parquet.EpisodeFileError`."""
    if not path.is_file():
        raise EpisodeFileError(path, "no such file")
    if path.suffix.lower() == ".csv":
        return "csv"
    try:
        schema = pq.read_schema(os.fspath(path), memory_map=False)
    except (pa.ArrowException, OSError) as error:
        raise EpisodeFileError(path, f"not a readable episode: {_line(error)}") from error
    if METADATA in (schema.metadata or {}) or (
        b"rollgym.schema" not in (schema.metadata or {}) and FRAME in schema.names
    ):
        return "flat"
    return "episode"


def read_flat(path: Path, form: str) -> Flat:
    """A file as a flat table. Raises :class:`~rollgym.protocol.parquet.EpisodeFileError`, also if it has no frame."""
    try:
        if form == "csv":
            columns, about = _csv(path), _sidecar(path)
        elif form == "flat":
            columns, about = _parquet(path)
        else:
            columns, about = _episode(path)
        keys, several = _keys(columns)
    except (*BAD_COLUMNS, OSError) as error:
        raise EpisodeFileError(path, f"not a readable episode: {_line(error)}") from error
    if not len(keys):
        raise EpisodeFileError(path, "holds no frame")
    kept = {n: values for n, values in columns.items() if n.split(".", 1)[0] not in (*OWN_PREFIXES, FRAME)}
    return Flat(form, os.fspath(path), keys, several, kept, about if several else _named(kept, about or {}))


def _named(columns: dict[str, pa.Array], about: dict[str, Any]) -> dict[str, Any]:
    """Take what says in every row whose rows these are out of the columns, and put it to the provenance."""
    said = {}
    if MATCH in columns:
        said["match"] = columns.pop(MATCH)[0].as_py()
    if EPISODE in columns:
        said["episode"] = int(_integers(columns.pop(EPISODE), EPISODE)[0])
    return {**about, **said}


def _csv(path: Path) -> dict[str, pa.Array]:
    """All cells as text; an empty one is null. A quoted empty one is text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    if len(set(names)) != len(names) or not names:
        raise ValueError("no header" if not names else "two columns of one name")
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    return {name: table.column(index).combine_chunks() for index, name in enumerate(table.column_names)}


def _sidecar(path: Path) -> dict[str, Any] | None:
    """The JSON file that ``rollgym export`` puts beside a CSV file."""
    beside_it = path.with_suffix(".json")
    if not beside_it.is_file():
        return None
    found = json.loads(beside_it.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else None


def _parquet(path: Path) -> tuple[dict[str, pa.Array], dict[str, Any] | None]:
    table = pq.read_table(os.fspath(path), memory_map=False)
    text = (table.schema.metadata or {}).get(METADATA)
    about = json.loads(text) if text is not None else None
    return {name: table.column(name).combine_chunks() for name in table.column_names}, about


def _episode(path: Path) -> tuple[dict[str, pa.Array], dict[str, Any]]:
    if read_layout(path).canonical is None:
        raise EpisodeFileError(path, "holds one peer's own part only, no canonical frames")
    layout, table = read_table(path)
    # By way of JSON, as the other forms have it: tuples are lists, bytes are hex.
    about: dict[str, Any] = json.loads(to_json({**provenance(layout), **beside(layout, table)}))
    return facts(layout, table), about


def _keys(columns: dict[str, pa.Array]) -> tuple[NDArray[np.int64], bool]:
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
    wrong = np.flatnonzero(keys[1:] <= keys[:-1])
    if wrong.size:
        raise ValueError(
            f"column {FRAME}: {keys[wrong[0] + 1] % _KEY} in row {wrong[0] + 1}: expected ascending frames"
        )
    return keys, several


def _integers(values: pa.Array, name: str) -> NDArray[np.int64]:
    if values.null_count:
        raise ValueError(f"column {name}: a value is missing")
    if pa.types.is_string(values.type):  # some write 3 as 3.0
        values = pc.replace_substring_regex(values, r"\.0+$", "")
    found: NDArray[np.int64] = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def place_of(key: int, several: bool) -> tuple[int | None, int]:
    """The episode (if the files have several) and the frame of a key."""
    return (key // _KEY if several else None), key % _KEY


def _line(error: BaseException) -> str:
    if isinstance(error, EpisodeFileError):
        return error.reason
    return (str(error).strip() or type(error).__name__).splitlines()[0]
