"""Files that outlive a power cut: one way to write them, for the server's dataset, a peer's spool and its copies alike.

A file is written under a temporary name, its content is synced, it gets its name, and the folder is synced. Before the
last step has returned, the file is there whole or not at all after a power cut; afterwards it is there.
:data:`fsync` is looked up at every call: a test that takes its place sees whatever is synced.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

fsync = os.fsync


def sync_file(path: Path) -> None:
    """Make the content of a finished file durable. Raises ``OSError``."""
    _sync(path)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises ``OSError``."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, final: Path) -> None:
    """Give a file whose content is durable its name, replacing what had it; durable when this returns.

    Both on one file system. Raises ``OSError``.
    """
    make_folder(final.parent)
    temporary.replace(final)
    sync_folder(final.parent)


def write(final: Path, parts: Iterable[bytes], *, temporary: Path, mode: int = 0o666) -> None:
    """Write a whole file durably, by way of ``temporary``, which is gone at the end. Raises ``OSError``."""
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.writelines(parts)
        sync_file(temporary)
        publish(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and its parents; their names are durable when this returns. Raises ``OSError``."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True, mode=mode)
        sync_folder(new.parent)
