"""Do two canonical parts say the same, and if not, where do they first differ."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from rollgym.protocol.episode.export import Canonical, Header
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.messages import first_difference


class Mismatch(Struct, frozen=True):
    """The first place where two episodes differ.

    ``frame`` is None for a difference in the header. An observation or an info of ``reset`` counts as frame 0,
    one that frame ``f`` led to as frame ``f + 1`` for observations and ``f`` for infos.
    """

    frame: int | None
    field: str
    first: str
    second: str

    def __str__(self) -> str:
        where = "header" if self.frame is None else f"frame {self.frame}"
        return f"{where}, {self.field}: {self.first} against {self.second}"


def compare_episodes(
    first: tuple[Header, Canonical], second: tuple[Header, Canonical], *, header: bool = True
) -> Mismatch | None:
    """The first difference of two episodes, or None if they are equal.

    Frames first: the lowest differing frame says more than the digest or the length that follow from it. Among
    the fields of that frame the first by name. Values are compared bit for bit, so NaN equals NaN.
    ``header=False`` leaves the header out.
    """
    found = _first_difference_in_rows(first[1], second[1])
    if found is not None:
        return found
    if header:
        change = first_difference(first[0], second[0])
        if change is not None:
            return Mismatch(None, change.field, repr(change.first), repr(change.second))
    return None


def _first_difference_in_rows(first: Canonical, second: Canonical) -> Mismatch | None:
    best: Mismatch | None = None
    for name in sorted({*first.columns, *second.columns}):
        if name not in first.columns or name not in second.columns:
            have = [str(name in side.columns) for side in (first, second)]
            return Mismatch(None, f"columns.{name}", have[0], have[1])
        one, two = first.columns[name], second.columns[name]
        if one == two:
            continue
        if one.dtype != two.dtype or one.shape[1:] != two.shape[1:]:
            return Mismatch(None, f"columns.{name}", f"{one.dtype}{one.shape[1:]}", f"{two.dtype}{two.shape[1:]}")
        row, places = _first_row(one.array(), two.array())
        if best is None or best.frame is None or row < best.frame:
            texts = [str(side[row].tolist()) if row < len(side) else "(no row)" for side in places]
            best = Mismatch(row, name, texts[0], texts[1])
    change = _first_info(first, second)
    if change is not None and (best is None or best.frame is None or (change.frame or 0) < best.frame):
        return change
    return best


def _first_row(one: np.ndarray, two: np.ndarray) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
    rows = min(len(one), len(two))
    width = one.dtype.itemsize * int(np.prod(one.shape[1:], dtype=np.int64))
    if width and rows:
        bits = [np.ascontiguousarray(side[:rows]).view(np.uint8).reshape(rows, width) for side in (one, two)]
        differing = np.flatnonzero((bits[0] != bits[1]).any(axis=1))
        if differing.size:
            return int(differing[0]), (one, two)
    return rows, (one, two)


def _first_info(first: Canonical, second: Canonical) -> Mismatch | None:
    if first.infos == second.infos:
        return None
    one = {(info.row, info.agent, info.key): info.value for info in first.infos}
    two = {(info.row, info.agent, info.key): info.value for info in second.infos}
    for place in sorted({*one, *two}):
        if one.get(place) != two.get(place):
            row, agent, key = place
            texts = [repr(unpack_value(side[place])) if place in side else "(no key)" for side in (one, two)]
            return Mismatch(max(row - 1, 0), f"infos/{agent}/{key}", texts[0], texts[1])
    return None
