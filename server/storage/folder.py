"""A data folder as a store. A kill at any moment leaves either the old file or the new one, never half of one.

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
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rollgym.protocol.files.durable import make_folder, publish, write
from rollgym.server.errors import ServerError
from rollgym.server.storage.keys import EpisodeKey, UploadKey, is_match_id

_INBOX = re.compile(r"([0-9]{6,7})\.([0-9]{1,2})\.msgpack")
_EPISODE = re.compile(r"episode_([0-9]{6,7})")

# What network file systems say to a lock on a folder.
_NO_FOLDER_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP})


class FolderStore:
    """The embedded :class:`~rollgym.server.storage.episode_store.EpisodeStore`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / "inbox"
        self.dataset = root / "episodes"
        self.temporary = root / "tmp"
        self._locks: list[int] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderStore, (self.root,)

    @property
    def place(self) -> str:
        return str(self.root)

    # --- the process that serves --------------------------------------------------------------------------------

    def open(self, free_bytes: int) -> None:
        """Make the folders, lock them and try a durable write. Raises :class:`ServerError` with the reason."""
        try:
            self._open(free_bytes)
        except BaseException:
            self.close()
            raise

    def _open(self, free_bytes: int) -> None:
        try:
            for folder in (self.root, self.inbox, self.dataset, self.temporary):
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
        while self._locks:
            os.close(self._locks.pop())

    def health(self, free_bytes: int) -> str | None:
        try:
            if self._locks and not os.path.samestat(os.fstat(self._locks[-1]), self.root.stat()):
                return f"{self.root} is not the folder that this server opened"
            for folder in (self.inbox, self.dataset, self.temporary):
                if not os.access(folder, os.W_OK | os.X_OK):
                    return f"{folder} cannot be written"
            free = self.free_bytes()
        except OSError as error:
            return f"{self.root}: {error.strerror or error}"
        return None if free >= free_bytes else f"{free} bytes free, expected at least {free_bytes}"

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    # --- files on their way in ----------------------------------------------------------------------------------

    def new_temporary(self) -> Path:
        """On the same file system as everything else."""
        return self.temporary / f"{secrets.token_hex(12)}.part"

    def put_upload(self, key: UploadKey, file: Path) -> None:
        publish(file, self.upload_path(key))

    def put_file(self, key: EpisodeKey, name: str, file: Path) -> None:
        publish(file, self.episode_folder(key) / name)

    # --- uploads ------------------------------------------------------------------------------------------------

    def upload_path(self, key: UploadKey) -> Path:
        """Where an upload waits. Raises ``ValueError`` for an id that is not the server's."""
        return self.inbox / _checked(key.match) / f"{key.episode:06d}.{key.player}.msgpack"

    def has_upload(self, key: UploadKey) -> bool:
        return self.upload_path(key).is_file()

    def upload(self, key: UploadKey) -> bytes:
        return self.upload_path(key).read_bytes()

    def received(self, key: UploadKey) -> float:
        return self.upload_path(key).stat().st_mtime

    def upload_file(self, key: UploadKey) -> AbstractContextManager[Path]:
        return nullcontext(self.upload_path(key))

    def discard_uploads(self, keys: Iterable[UploadKey]) -> None:
        """The match's folder stays: another upload may be on its way into it."""
        for key in keys:
            self.upload_path(key).unlink(missing_ok=True)

    def uploads(self) -> Iterator[UploadKey]:
        for path in sorted(self.inbox.glob("*/*")):
            found = _INBOX.fullmatch(path.name)
            if found is not None and is_match_id(path.parent.name):
                yield UploadKey(path.parent.name, int(found[1]), int(found[2]))

    # --- episodes -----------------------------------------------------------------------------------------------

    def episode_folder(self, key: EpisodeKey) -> Path:
        """Where an episode's files are. Raises ``ValueError`` for an id that is not the server's."""
        return self.dataset / _checked(key.match) / f"episode_{key.episode:06d}"

    def file(self, key: EpisodeKey, name: str) -> AbstractContextManager[Path]:
        return nullcontext(self.episode_folder(key) / name)

    def files(self, key: EpisodeKey) -> list[str]:
        folder = self.episode_folder(key)
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def ends(self, key: EpisodeKey, name: str, size: int) -> tuple[bytes, bytes]:
        with (self.episode_folder(key) / name).open("rb") as file:
            head = file.read(size)
            file.seek(-size, os.SEEK_END)
            return head, file.read()

    def discard_files(self, key: EpisodeKey, names: Iterable[str]) -> None:
        folder = self.episode_folder(key)
        for name in names:
            (folder / name).unlink(missing_ok=True)

    def episodes(self) -> Iterator[EpisodeKey]:
        for path in sorted(self.dataset.glob("*/*")):
            found = _EPISODE.fullmatch(path.name)
            if found is not None and is_match_id(path.parent.name):
                yield EpisodeKey(path.parent.name, int(found[1]))

    # --- for people ---------------------------------------------------------------------------------------------

    def upload_place(self, key: UploadKey) -> str:
        return self._within(self.upload_path(key))

    def file_place(self, key: EpisodeKey, name: str = "") -> str:
        return self._within(self.episode_folder(key) / name)

    def strangers(self) -> Iterator[str]:
        for path in sorted(self.inbox.glob("*")):
            if not is_match_id(path.name):
                yield self._within(path)
        for path in sorted(self.inbox.glob("*/*")):
            if is_match_id(path.parent.name) and _INBOX.fullmatch(path.name) is None:
                yield self._within(path)

    def unfinished(self) -> Iterator[str]:
        for path in sorted(self.temporary.iterdir()) if self.temporary.is_dir() else ():
            yield self._within(path)

    def _within(self, path: Path) -> str:
        return str(path.relative_to(self.root))


def _checked(match: str) -> str:
    if not is_match_id(match):
        raise ValueError(f"match id {match!r}: not one of this server")
    return match
