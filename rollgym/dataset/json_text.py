"""JSON for files: of facts, provenance and infos."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rollgym.protocol.column_names import is_writable


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text, fit for a file. NaN and infinities as Python and most readers write them; arrays are lists, complex
    numbers pairs, times and what else JSON has not text; bytes are hex."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=_other)
    return text if is_writable(text) else json.dumps(value, indent=indent, default=_other)


def _other(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        plain = array.dtype.kind in "biufcSUV" and array.dtype.str not in ("<f16", "<c32")
        return (array if plain else array.astype(str)).tolist()
    raise TypeError(f"value of type {type(value).__name__}: expected plain data")
