"""Actions as episode files hold them, each as bytes of a fixed width, and back as values."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.spaces.codec import CodecError, codec_for


def distinct_codes(codes: NDArray[np.uint8]) -> tuple[list[bytes], NDArray[np.intp]]:
    """The distinct rows of ``(T, width)``, and for each row which of them it is: most games have few actions."""
    rows, width = codes.shape
    if not rows or not width:
        return [b""] * min(rows, 1), np.zeros(rows, np.intp)
    if width == 1:
        there = np.flatnonzero(np.bincount(codes.ravel(), minlength=256))
        places = np.zeros(256, np.intp)
        places[there] = np.arange(len(there))
        return [bytes([code]) for code in there.tolist()], places[codes.ravel()]
    if width <= 8:
        wide = np.zeros((rows, 8), np.uint8)
        wide[:, :width] = codes
        keys = wide.view("<u8").ravel()  # numbers are told apart far faster than bytes
    else:
        keys = np.ascontiguousarray(codes).view(np.dtype((np.void, width))).ravel()
    distinct, which = np.unique(keys, return_inverse=True)
    return [key.tobytes()[:width] for key in distinct], which


def decoded_actions(space: spaces.Space[Any], codes: NDArray[np.uint8]) -> Any:
    """The actions in ``(T, width)`` encoded ones: an array of ``T``, a list where the space is a Dict or a Tuple.

    Raises :class:`~rollgym.games.spaces.codec.CodecError` for bytes that are none.
    """
    codec = codec_for(space)
    if codes.ndim != 2 or codes.shape[1] != codec.width:
        raise CodecError(f"actions of {codes.shape[1:]} bytes: expected {codec.width}")
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return [codec.decode(row.tobytes()) for row in codes]  # each an object of its own
    distinct, which = distinct_codes(codes)
    decoded = [codec.decode(code) for code in distinct]
    return np.array(decoded, dtype=space.dtype).reshape(len(decoded), *(space.shape or ()))[which]
