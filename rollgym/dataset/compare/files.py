"""Compare two files of any forms."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollgym.dataset.compare.cells import Cells, differing, same_value
from rollgym.dataset.compare.forms import HEADER, Flat, form_of, place_of, read_flat
from rollgym.dataset.compare.lossless import compare_lossless
from rollgym.dataset.compare.result import Comparison, Difference, conclude, short
from rollgym.protocol.column_names import split

Keys = NDArray[np.int64]


def compare_files(
    first: str | os.PathLike[str], second: str | os.PathLike[str], only: Collection[str] = ()
) -> Comparison:
    """Compare the facts of two files; ``only`` of these columns, by the first parts of their names (``actions``).

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for a file that is unreadable or holds no frame.
    """
    one, two = Path(first), Path(second)
    forms = form_of(one), form_of(two)
    if forms == ("episode", "episode") and not only:
        return compare_lossless(one, two)
    return _compare_flat(read_flat(one, forms[0]), read_flat(two, forms[1]), only)


def _compare_flat(one: Flat, two: Flat, only: Collection[str]) -> Comparison:
    several = one.several or two.several
    inside: list[Difference] = []
    outside: list[Difference] = []
    counts: dict[str, int] = {}
    keys, left_rows, right_rows = _aligned(one.keys, two.keys)
    lacking = np.setxor1d(one.keys, two.keys, assume_unique=True)
    if lacking.size:
        episode, frame = place_of(int(lacking[0]), several)
        texts = [str(frame) if lacking[0] in side.keys else "(no row)" for side in (one, two)]
        inside.append(Difference(frame, "frame", (), texts[0], texts[1], episode))
    names = [n for n in sorted({*one.columns, *two.columns}) if not only or split(n, ".")[0] in only or n in only]
    for name in names:
        left, right = (side.columns.get(name) for side in (one, two))
        if left is None or right is None:
            if not _never_came(name, left or right):
                texts = ["missing" if column is None else str(column.values.type) for column in (left, right)]
                outside.append(Difference(None, name, (), texts[0], texts[1]))
            continue
        left, right = left.taken(left_rows), right.taken(right_rows)
        rows = np.flatnonzero(differing(left, right))
        if rows.size:
            counts[name] = int(rows.size)
            at = int(rows[0])
            episode, frame = place_of(int(keys[at]), several)
            texts = [_shown(left, at), _shown(right, at)]
            inside.append(Difference(frame, name, (), texts[0], texts[1], episode))
    if not only and one.about is not None and two.about is not None and not several:
        outside += _header(one.about, two.about)
        if len(one.keys) == len(two.keys):
            inside += _beside(one.about, two.about, len(one.keys), counts)
    columns = [sum(name in side.columns for name in names) for side in (one, two)]
    return conclude(
        (one.path, two.path),
        (one.form, two.form),
        (len(one.keys), len(two.keys)),
        (columns[0], columns[1]),
        inside,
        outside,
        counts,
    )


def _aligned(one: Keys, two: Keys) -> tuple[Keys, Keys, Keys]:
    """The keys that both have, and in which rows each has them."""
    rows = min(len(one), len(two))
    if np.array_equal(one[:rows], two[:rows]):
        return one[:rows], np.arange(rows), np.arange(rows)
    keys, left, right = np.intersect1d(one, two, assume_unique=True, return_indices=True)
    return keys, left, right


def _never_came(name: str, column: Cells | None) -> bool:
    """An info key that never came: where several episodes share their columns, its column is there all the same."""
    return column is not None and split(name, ".")[0] == "infos" and column.values.null_count == len(column.values)


def _shown(column: Cells, row: int) -> str:
    value = column.values[row].as_py()
    if value is None:
        return "(nothing)"
    return short(value)[1:-1] if column.form in ("text", "json") else short(value)  # a cell is no more than its text


def _header(one: dict[str, Any], two: dict[str, Any]) -> Iterator[Difference]:
    for key in HEADER:
        if key in one and key in two:
            yield from _walk(f"header.{key}", one[key], two[key])


def _walk(path: str, one: Any, two: Any) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in [*one, *(k for k in two if k not in one)]:
            yield from _walk(f"{path}.{key}", one.get(key, "(missing)"), two.get(key, "(missing)"))
    elif not same_value(one, two):
        yield Difference(None, path, (), short(one), short(two))


def _beside(one: dict[str, Any], two: dict[str, Any], frames: int, counts: dict[str, int]) -> Iterator[Difference]:
    """What has no row of its own: the last observation, and the infos of reset."""
    ends = [side.get("final") for side in (one, two)]
    found = [end for end in ends if isinstance(end, dict)]
    if len(found) == 2:
        for name in sorted({*found[0], *found[1]}):
            values = [end.get(name, "(missing)") for end in found]
            if not same_value(values[0], values[1]):
                counts[name] = counts.get(name, 0) + 1
                yield Difference(frames, name, (), short(values[0]), short(values[1]))
    starts = [side["reset_infos"] for side in (one, two) if "reset_infos" in side]
    if len(starts) == 2:
        for change in _walk("reset_infos", starts[0], starts[1]):
            yield Difference(0, change.field, (), change.first, change.second)
