"""Where uploads and episodes' files are kept: what the rest of the server asks of it.

The embedded one is a folder (:mod:`~rollgym.server.storage.folder`). Another one is one more file with this protocol,
named in :mod:`~rollgym.server.storage.record`; ``tests/server/test_stores.py`` says what holds for all of them.

Methods block, and are called from threads and, all but :meth:`EpisodeStore.open` and what belongs to that, from worker
processes: a store travels there by pickle, as what it was made from. Whatever the store or its disk refuses is an
``OSError``; its ``errno`` is one of :data:`~rollgym.server.storage.errors.NO_ROOM` where there is no room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from rollgym.server.storage.keys import EpisodeKey, UploadKey


class EpisodeStore(Protocol):
    """Uploads that wait for their verdict, and the files of episodes that have one."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    # --- the process that serves --------------------------------------------------------------------------------

    def open(self, free_bytes: int) -> None:
        """Take it for this process alone, and try a durable write.

        Raises :class:`~rollgym.server.errors.ServerError` with the reason, also if fewer than ``free_bytes`` are free.
        """

    def close(self) -> None:
        """Let go of it. Twice is once."""

    def health(self, free_bytes: int) -> str | None:
        """None if files can be written now, else why not."""

    def free_bytes(self) -> int:
        """How much more it takes."""

    # --- files on their way in ----------------------------------------------------------------------------------

    def new_temporary(self) -> Path:
        """A path on this machine that nothing has, for a file that :meth:`put_upload` or :meth:`put_file` takes in.

        What is left there by a kill is gone at the next :meth:`open`.
        """

    def put_upload(self, key: UploadKey, file: Path) -> None:
        """Keep a file of :meth:`new_temporary`, whose content is synced, as an upload. Durable when this returns.

        The file is gone then. Raises ``ValueError`` for a match id that is not the server's.
        """

    def put_file(self, key: EpisodeKey, name: str, file: Path) -> None:
        """The same for a file of an episode. One of that name is replaced, by all of the new one or not at all."""

    # --- uploads ------------------------------------------------------------------------------------------------

    def has_upload(self, key: UploadKey) -> bool:
        """Whether an upload waits for its verdict."""

    def upload(self, key: UploadKey) -> bytes:
        """Its content. Raises ``FileNotFoundError`` if there is none."""

    def received(self, key: UploadKey) -> float:
        """When it was kept, in Unix seconds. Raises ``FileNotFoundError`` if there is none."""

    def upload_file(self, key: UploadKey) -> AbstractContextManager[Path]:
        """It as a file of this machine, for as long as the block lasts. To be read only."""

    def discard_uploads(self, keys: Iterable[UploadKey]) -> None:
        """Forget uploads. One that is not there is no error."""

    def uploads(self) -> Iterator[UploadKey]:
        """All that wait for their verdict, in order."""

    # --- episodes -----------------------------------------------------------------------------------------------

    def file(self, key: EpisodeKey, name: str) -> AbstractContextManager[Path]:
        """A file of an episode as a file of this machine, for as long as the block lasts. To be read only.

        A file that is not there is a path that is not there.
        """

    def files(self, key: EpisodeKey) -> list[str]:
        """The names of an episode's files, and of whatever else somebody has put there, in order."""

    def ends(self, key: EpisodeKey, name: str, size: int) -> tuple[bytes, bytes]:
        """The first and the last ``size`` bytes of a file. Raises ``OSError`` if it is not there, or has not as many.

        There may be very many files: this must not read them.
        """

    def discard_files(self, key: EpisodeKey, names: Iterable[str]) -> None:
        """Remove files of an episode. One that is not there is no error."""

    def episodes(self) -> Iterator[EpisodeKey]:
        """All episodes that have files, in order."""

    # --- for people ---------------------------------------------------------------------------------------------

    def upload_place(self, key: UploadKey) -> str:
        """Where an upload is or would be, within :attr:`place`."""

    def file_place(self, key: EpisodeKey, name: str = "") -> str:
        """Where an episode's files are or would be, or one of them, within :attr:`place`."""

    def strangers(self) -> Iterator[str]:
        """What lies among the uploads and was not put there by a server, within :attr:`place`."""

    def unfinished(self) -> Iterator[str]:
        """Files that were on their way in, within :attr:`place`."""
