"""Which columns of which Arrow types an episode file has, from what its metadata says of them."""

from __future__ import annotations

from math import prod

import numpy as np
import pyarrow as pa

from rollgym.protocol.files.infos import INFO_LIST_TYPE, info_type
from rollgym.protocol.files.layout import Layout, StoredColumn

Fields = tuple[tuple[str, pa.DataType], ...]
"""Names and types."""


def facts_fields(layout: Layout) -> Fields:
    """The canonical columns but for the infos, in the order of the file. Truth values are bool, whatever their bytes.

    Raises ``TypeError`` for a dtype that there is not.
    """
    assert layout.canonical is not None
    return tuple((place.column, stored_type(place)) for place in layout.canonical.columns.values())


def info_fields(layout: Layout) -> Fields:
    """The columns of infos. Raises ``ValueError`` for a type that there is not."""
    assert layout.canonical is not None
    if layout.canonical.info_list is not None:
        return ((layout.canonical.info_list, INFO_LIST_TYPE),)
    return tuple((place.column, info_type(place.type)) for place in layout.canonical.infos)


def stored_type(place: StoredColumn) -> pa.DataType:
    """The type of a column with a value per row."""
    if place.stored == "null":
        return pa.null()
    value = pa.bool_() if place.dtype == "|b1" else pa.from_numpy_dtype(np.dtype(place.stored))
    pairs = place.dtype.startswith("<c")
    if not place.shape[1:] and not pairs:
        return value
    return pa.list_(pa.field("element", value), prod(place.shape[1:]) * (2 if pairs else 1))
