"""What a power cut would leave: only contents and names that were synced since they last changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rollgym.protocol.files import durable


class Disk:
    """Sees every sync, by taking the place of ``fsync`` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._contents: dict[int, tuple[int, int]] = {}
        self._names: dict[int, dict[str, int]] = {}
        monkeypatch.setattr(durable, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = {
                name: os.stat(name, dir_fd=descriptor).st_ino for name in os.listdir(descriptor)
            }
        else:
            self._contents[found.st_ino] = (found.st_size, found.st_mtime_ns)

    def keeps(self, path: Path, root: Path) -> bool:
        """Whether the file at ``path`` is there with its content after a power cut now. ``root`` was there before."""
        found = path.stat()
        if self._contents.get(found.st_ino) != (found.st_size, found.st_mtime_ns):
            return False
        while path != root:
            if self._names.get(path.parent.stat().st_ino, {}).get(path.name) != path.stat().st_ino:
                return False
            path = path.parent
        return True
