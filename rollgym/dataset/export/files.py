"""One file (and what belongs to it) at a time, whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rollgym.dataset.csv_cells import csv_lines, header_line
from rollgym.dataset.flat_infos import is_json
from rollgym.dataset.json_text import to_json
from rollgym.dataset.tables import EpisodeTables

ROWS_AT_ONCE = 100_000
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def episode_stem(match: str, episode: int, player: int | None) -> str:
    """``<match>/episode_000000`` or ``<match>/episode_000000.player_0``. A match that is no file name is hashed."""
    if not _SAFE.fullmatch(match):
        match = blake2b(match.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{match}/episode_{episode:06d}" + ("" if player is None else f".player_{player}")


def write_csv(path: Path, table: pa.Table) -> None:
    """Write a table; ``\\n`` ends a line, UTF-8."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(header_line(table.column_names) + "\n")
            for start in range(0, table.num_rows, ROWS_AT_ONCE):
                file.write("\n".join(csv_lines(table.slice(start, ROWS_AT_ONCE)).to_pylist()) + "\n")

    _whole(path, write)


def write_about(path: Path, tables: EpisodeTables, table: pa.Table) -> None:
    """What a CSV file cannot hold: provenance, the final observation, the infos of reset, the columns' types. JSON."""
    columns = {field.name: "json" if is_json(field) else str(field.type) for field in table.schema}
    about = {**tables.about, "columns": columns}
    _whole(path, lambda temporary: _text(temporary, to_json(about, indent=1) + "\n"))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table with its metadata."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")

    _whole(path, write)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _whole(path: Path, write: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
