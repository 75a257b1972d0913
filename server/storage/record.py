"""The record of a server: its catalogue and its store. Which ones, is said here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rollgym.server.errors import ServerError
from rollgym.server.storage.catalogue import Catalogue
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.errors import WAY_OUT
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue, catalogue_of
from rollgym.server.storage.sqlite.catalogue_copy import CatalogueCopy, catalogue_copy

__all__ = ["CatalogueCopy", "Record", "catalogue_copy", "catalogue_of", "embedded"]


@dataclass(frozen=True)
class Record:
    """A record that is there, or will be made. Nothing is opened yet."""

    store: EpisodeStore
    catalogue_place: str
    """Where the catalogue is or will be, for people."""
    open_catalogue: Callable[[], Catalogue]
    """Opens the catalogue of a store that is open. Blocking.

    Raises :class:`~rollgym.server.errors.ServerError`, also if there is none where there should be one.
    """


def embedded(data: Path) -> Record:
    """The record of a data folder: everything in it."""
    store, place = FolderStore(data), catalogue_of(data)

    def open_catalogue() -> Catalogue:
        if (not place.exists() or place.stat().st_size == 0) and _holds_data(store):
            raise ServerError(
                f"data folder {data}: holds episodes or uploads, and no catalogue;"
                f" {WAY_OUT} {data} makes it anew from the files"
            )
        return SqliteCatalogue(place)

    return Record(store, str(place), open_catalogue)


def _holds_data(store: EpisodeStore) -> bool:
    """Whether there is anything that a catalogue would say something about."""
    return any(True for _ in store.episodes()) or any(True for _ in store.uploads())
