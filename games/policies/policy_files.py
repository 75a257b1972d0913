"""What policies from outside have in common: the file they come from, and the observation as one row of numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from rollgym.games.contract import Observation
from rollgym.games.errors import GameError
from rollgym.games.spaces.described import Space, flattener, leaves

MAX_FILE_BYTES = 1 << 30


def checked_file(field: str, path: Any) -> Path:
    """The path, if it leads to a file of reasonable size. Raises :class:`~rollgym.games.errors.GameError` otherwise."""
    if not isinstance(path, str | Path):
        raise GameError(field, path, "the path of a file")
    found = Path(path)
    if not found.is_file():
        raise GameError(field, str(path), "a file that exists")
    size = found.stat().st_size
    if size > MAX_FILE_BYTES:
        raise GameError(field, str(path), f"a file of at most {MAX_FILE_BYTES} bytes, not {size}")
    return found


def read_file(field: str, path: Any) -> bytes:
    """The content of a file. Raises :class:`~rollgym.games.errors.GameError` if it cannot be read."""
    found = checked_file(field, path)
    try:
        return found.read_bytes()
    except OSError as error:
        raise GameError(field, str(path), f"a readable file ({error.strerror})") from error


def file_hash(path: Any) -> str:
    """BLAKE3 of a file's content, in hex. Raises :class:`~rollgym.games.errors.GameError` if it cannot be read."""
    return blake3(read_file("path", path)).hexdigest()


def flat_size(space: Space) -> int:
    """How many numbers an observation has."""
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in leaves(space))


def flat_vector(space: Space) -> Callable[[Observation], NDArray[np.float32]]:
    """A function that makes an observation one float32 row, shape ``(flat_size(space),)``.

    The leaves stand in the order of :func:`rollgym.games.spaces.described.leaves` (Dict keys sorted), each in C order;
    Discrete is one number. The function raises :class:`~rollgym.games.errors.GameError` for what is not of the space.
    """
    take = flattener(space)
    size = flat_size(space)

    def flat(observation: Observation) -> NDArray[np.float32]:
        row = np.empty(size, np.float32)
        at = 0
        for value in take(observation):
            part = np.asarray(value).ravel()
            row[at : at + part.size] = part
            at += part.size
        return row

    return flat


def short(error: BaseException) -> str:
    """The beginning of somebody else's error text, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
