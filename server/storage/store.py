"""The dataset folder. A kill at any moment leaves either the old file or the new one, never half of one.

::

    DATA/.lock                                       held by the running server
    DATA/catalogue.sqlite
    DATA/tmp/                                        files being written; emptied at start
    DATA/inbox/<match>/<episode>.<player>.msgpack    uploads that have no verdict yet
    DATA/episodes/<match>/episode_000000/*.parquet   the dataset

Match ids are made by the server, players come from tickets and episodes are integers: no client text is in a path.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rollgym.protocol.files.durable import make_folder, write
from rollgym.server.errors import ServerError

_MATCH = re.compile(r"m[0-9a-f]{24}")
_INBOX = re.compile(r"([0-9]{6,7})\.([0-9]{1,2})\.msgpack")
_EPISODE = re.compile(r"episode_([0-9]{6,7})")

# What the operating system says when there is no room: full disk, quota, file size limit.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


# What network file systems say to a lock on a folder.
_NO_FOLDER_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP})


def new_match_id() -> str:
    """A fresh match id: 12 random bytes, so that ids never collide across servers and runs."""
    return "m" + secrets.token_hex(12)


def is_match_id(text: str) -> bool:
    """Whether ``text`` is a match id of ours. Everything else is kept out of paths."""
    return _MATCH.fullmatch(text) is not None


class InboxFile(NamedTuple):
    """An upload on disk that waits for its verdict."""

    match: str
    episode: int
    player: int
    path: Path


class Store:
    """Paths and file operations. Blocking: called from threads and worker processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / "inbox"
        self.episodes = root / "episodes"
        self.temporary = root / "tmp"
        self.catalogue = root / "catalogue.sqlite"
        self._locks: list[int] = []

    def open(self, free_bytes: int) -> None:
        """Make the folders, lock them and try a durable write. Raises :class:`ServerError` with the reason."""
        try:
            self._open(free_bytes)
        except BaseException:
            self.close()
            raise

    def _open(self, free_bytes: int) -> None:
        try:
            for folder in (self.root, self.inbox, self.episodes, self.temporary):
                make_folder(folder)
            self._take_lock()
            for left in self.temporary.iterdir():
                left.unlink()  # never acknowledged, and nobody else writes here while we hold the lock
            for folder in self.inbox.iterdir():
                if is_match_id(folder.name) and not any(folder.iterdir()):
                    folder.rmdir()
            probe = self.temporary / "probe"
            write(probe, [b"probe"], temporary=self.new_temporary())
            probe.unlink()
        except OSError as error:
            raise ServerError(f"data folder {self.root}: not writable: {error.strerror or error}") from error
        free = self.free_bytes()
        if free < free_bytes:
            raise ServerError(f"data folder {self.root}: {free} bytes free, expected at least {free_bytes}")

    def _take_lock(self) -> None:
        """Lock the folder itself, which nobody can delete while it has files; and a file in it, as the only thing that
        network file systems can lock, and that earlier versions of the server look at."""
        self._locks.append(os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666))
        self._locks.append(os.open(self.root, os.O_RDONLY | os.O_DIRECTORY))
        for lock in self._locks:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ServerError(f"data folder {self.root}: in use by another server") from None
            except OSError as error:
                if lock != self._locks[-1] or error.errno not in _NO_FOLDER_LOCKS:
                    raise

    def close(self) -> None:
        """Release the lock."""
        while self._locks:
            os.close(self._locks.pop())

    def health(self, free_bytes: int) -> str | None:
        """None if files can be written, else why not."""
        try:
            if self._locks and not os.path.samestat(os.fstat(self._locks[-1]), self.root.stat()):
                return f"{self.root} is not the folder that this server opened"
            for folder in (self.inbox, self.episodes, self.temporary):
                if not os.access(folder, os.W_OK | os.X_OK):
                    return f"{folder} cannot be written"
            free = self.free_bytes()
        except OSError as error:
            return f"{self.root}: {error.strerror or error}"
        return None if free >= free_bytes else f"{free} bytes free, expected at least {free_bytes}"

    def free_bytes(self) -> int:
        """Free space on the folder's disk."""
        return shutil.disk_usage(self.root).free

    def new_temporary(self) -> Path:
        """A path that nothing has, on the same file system as everything else."""
        return self.temporary / f"{secrets.token_hex(12)}.part"

    def inbox_path(self, match: str, episode: int, player: int) -> Path:
        """Where an upload waits. Raises ``ValueError`` for an id that is not the server's."""
        return self.inbox / _checked(match) / f"{episode:06d}.{player}.msgpack"

    def episode_folder(self, match: str, episode: int) -> Path:
        """Where an episode's files are. Raises ``ValueError`` for an id that is not the server's."""
        return self.episodes / _checked(match) / f"episode_{episode:06d}"

    def inbox_files(self) -> Iterator[InboxFile]:
        """All uploads on disk that wait for their verdict."""
        for path in sorted(self.inbox.glob("*/*")):
            found = _INBOX.fullmatch(path.name)
            if found is not None and is_match_id(path.parent.name):
                yield InboxFile(path.parent.name, int(found[1]), int(found[2]), path)

    def strange_files(self) -> Iterator[Path]:
        """What lies in the inbox and was not put there by a server."""
        for path in sorted(self.inbox.glob("*")):
            if not is_match_id(path.name):
                yield path
        for path in sorted(self.inbox.glob("*/*")):
            if is_match_id(path.parent.name) and _INBOX.fullmatch(path.name) is None:
                yield path

    def episode_folders(self) -> Iterator[tuple[str, int, Path]]:
        """All episode folders: match, episode, path."""
        for path in sorted(self.episodes.glob("*/*")):
            found = _EPISODE.fullmatch(path.name)
            if found is not None and is_match_id(path.parent.name):
                yield path.parent.name, int(found[1]), path

    def holds_data(self) -> bool:
        """Whether there is anything in the folder that a catalogue would say something about."""
        return any(True for _ in self.episode_folders()) or any(True for _ in self.inbox_files())

    def discard_inbox(self, match: str, episode: int, players: Iterable[int]) -> None:
        """Remove uploads whose content is in the dataset. The folder stays: an upload may be on its way into it."""
        for player in players:
            self.inbox_path(match, episode, player).unlink(missing_ok=True)


def _checked(match: str) -> str:
    if not is_match_id(match):
        raise ValueError(f"match id {match!r}: not one of this server")
    return match
