"""A catalogue as it is at one moment, read by a program that is not its server. The file is only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from rollgym.server.errors import ServerError
from rollgym.server.storage.errors import damaged, refused_at_start
from rollgym.server.storage.overview import OverviewMatch, OverviewRow
from rollgym.server.storage.rows import EpisodeRow, MatchRow, RefusalRow, UnjudgedRow, UploadRow
from rollgym.server.storage.sqlite import overview, queries
from rollgym.server.storage.sqlite.database import BUSY, translated
from rollgym.server.storage.sqlite.schema import bring_up_to_date


class CatalogueCopy:
    """All that a catalogue holds, in the present version. A server may be writing the file meanwhile."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def matches(self) -> list[MatchRow]:
        """All matches, oldest first."""
        return queries.matches(self._db)

    def uploads(self) -> list[UploadRow]:
        """Acknowledged uploads, by match, episode and player."""
        return queries.uploads(self._db)

    def episodes(self) -> list[EpisodeRow]:
        """Verdicts, by match and episode."""
        return queries.episodes(self._db)

    def unjudged(self) -> list[UnjudgedRow]:
        """Why episodes have no verdict, by match and episode."""
        return queries.unjudged(self._db)

    def refusals(self) -> list[RefusalRow]:
        """Uploads that were refused, by match, episode and player."""
        return queries.refusals(self._db)

    def conflicts(self) -> int:
        """Uploads of which a player sent another version later."""
        return queries.conflicts(self._db)

    def overview(self) -> list[OverviewRow]:
        """All episodes with all their players, and the matches that are over and have none."""
        return [*overview.overview(self._db)]

    def overview_matches(self) -> dict[str, OverviewMatch]:
        """What every match was of, by its id."""
        return overview.matches(self._db)


@contextmanager
def catalogue_copy(place: Path) -> Iterator[CatalogueCopy]:
    """The catalogue at ``place`` as it is now, for as long as the block lasts.

    Raises :class:`ServerError`, also within the block, if the catalogue cannot be read.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        try:
            _copy(place, copy, "mode=ro" if _in_use(place) else "immutable=1")
            bring_up_to_date(copy)
        except ServerError as error:
            raise ServerError(f"catalogue {place}: {error}") from error
        except sqlite3.Error as error:
            raise refused_at_start(place, translated(error)) from error
        try:
            yield CatalogueCopy(copy)
        except sqlite3.Error as error:
            raise refused_at_start(place, translated(error)) from error
        except msgspec.MsgspecError as error:
            raise damaged(place, str(error)) from error


def _in_use(path: Path) -> bool:
    """Whether the file alone is not all of it. Else it is read as it lies there: a reader that takes part in SQLite's
    locking leaves files beside it, and needs a folder that can be written."""
    log = path.with_name(f"{path.name}-wal")
    return not path.exists() or (log.exists() and log.stat().st_size > 0)


def _copy(path: Path, copy: sqlite3.Connection, mode: str) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY)) as source:
        source.backup(copy)
