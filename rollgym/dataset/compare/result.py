"""What a comparison found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class Difference(Struct, frozen=True):
    """The first place where two files differ."""

    frame: int | None
    """None: outside of the frames, in the header or in the set of columns."""
    field: str
    """A column, or the path of a header field."""
    index: tuple[int, ...]
    """Which element of the column's row, if its rows have several."""
    first: str
    second: str
    episode: int | None = None
    """Which episode, where a file has several."""

    def __str__(self) -> str:
        where = "outside of the frames" if self.frame is None else f"frame {self.frame}"
        if self.episode is not None:
            where = f"episode {self.episode}, {where}"
        index = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{where}, {self.field}{index}: {self.first} against {self.second}"


class Comparison(Struct, frozen=True):
    """What became of two files."""

    first: str
    second: str
    forms: tuple[str, str]
    """``episode`` (Parquet as the dataset has it), ``flat`` (as ``rollgym export`` writes it) or ``csv``."""
    identical: bool
    frames: tuple[int, int]
    """Frames of each file."""
    columns: tuple[int, int]
    """Columns of facts of each file, one per info key included."""
    difference: Difference | None
    """The first one: the lowest frame, and in it the first field by name."""
    differing_rows: dict[str, int]
    """Per column that differs in frames both files have: in how many rows."""
    differing_fields: list[str]
    """Header fields that differ, and columns that only one file has or that have another type."""


def conclude(
    paths: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    forms: tuple[str, str],
    frames: tuple[int, int],
    columns: tuple[int, int],
    inside: Sequence[Difference],
    outside: Sequence[Difference],
    counts: Mapping[str, int],
) -> Comparison:
    """Put together what was found: differences in frames, those outside, and differing rows by column."""
    first = outside[0] if outside else None
    if inside:
        first = min(inside, key=lambda d: (d.episode or 0, d.frame or 0, d.field))
    return Comparison(
        os.fspath(paths[0]),
        os.fspath(paths[1]),
        forms,
        first is None,
        frames,
        columns,
        first,
        dict(counts),
        [difference.field for difference in outside],
    )


def missing_row(frames: tuple[int, int]) -> Difference:
    """The difference of two files whose frames are the same as far as both go."""
    end = min(frames)
    texts = [str(end) if count > end else "(no row)" for count in frames]
    return Difference(end, "frame", (), texts[0], texts[1])


def short(value: Any) -> str:
    """A value in a report."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"
