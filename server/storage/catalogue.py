"""Which matches there were, what was received and what became of it: what the rest of the server asks for.

The embedded one is an SQLite file (:mod:`rollgym.server.storage.sqlite`). Another one is one more file with this
protocol, named in :mod:`~rollgym.server.storage.record`; ``tests/server/test_catalogues.py`` says what holds for all.
"""

from __future__ import annotations

from typing import Protocol

from rollgym.server.storage.rows import (
    EpisodeRow,
    Holder,
    MatchRow,
    RefusalRow,
    SeriesProgress,
    UnjudgedRow,
    UploadRow,
)


class Catalogue(Protocol):
    """What a call returned from is durable. Calls may be made side by side, from one event loop.

    Every call raises :class:`~rollgym.server.storage.errors.CatalogueError` if the catalogue refuses, and then nothing
    of it was done, and :class:`~rollgym.server.storage.errors.Stopped` once it is closed.
    """

    @property
    def place(self) -> str:
        """Where it is, for people."""

    @property
    def alive(self) -> bool:
        """Whether it will answer again by itself, however it is at the moment."""

    async def health(self) -> str | None:
        """None if a call succeeds now, else why not."""

    def close(self) -> None:
        """Finish what was asked for, then let go of it. Blocks for as long as that takes."""

    # --- matches ------------------------------------------------------------------------------------------------

    async def add_match(self, row: MatchRow, ticket_hashes: tuple[bytes, ...]) -> None:
        """Record a match and its players before they are told of it.

        Refused as ``taken``, finally, if a match of its experiment and condition that was not annulled has its number.
        """

    async def drop_match(self, match: str) -> None:
        """Forget a match that never began. One with uploads stays: that is refused, finally."""

    async def annul_match(self, match: str, at: float, reason: str) -> bool:
        """Record that a match was undone before play began. Its tickets open nothing any more, its number is free.

        False, and nothing was done, if something of it was uploaded after all.
        """

    async def progress(self, experiment: str, condition: str) -> SeriesProgress:
        """How far an experiment's condition is, over all runs: what a restarted server goes on from."""

    async def player_left(self, match: str, player: int, at: float, reason: str) -> None:
        """Record when and why a player left."""

    async def end_match(self, match: str, at: float, reason: str) -> None:
        """Record that all of a match's verdicts are in."""

    async def match(self, match: str) -> MatchRow | None:
        """One match."""

    async def open_matches(self) -> list[MatchRow]:
        """Matches that were never ended, oldest first."""

    async def holder(self, ticket_hash: bytes) -> Holder | None:
        """Whose ticket it is. Annulled matches have none."""

    # --- uploads ------------------------------------------------------------------------------------------------

    async def add_upload(self, row: UploadRow) -> None:
        """Record an upload that is durable in the store.

        Raises :class:`~rollgym.server.storage.errors.AnnulledError`; and a final refusal if there is one already.
        """

    async def drop_upload(self, match: str, episode: int, player: int) -> None:
        """Forget an upload whose file is gone, so that it can be sent again."""

    async def upload(self, match: str, episode: int, player: int) -> UploadRow | None:
        """One upload."""

    async def uploads(self, match: str, episode: int | None = None) -> list[UploadRow]:
        """The uploads of a match, or of one of its episodes, by episode and player."""

    async def all_uploads(self) -> list[UploadRow]:
        """Every upload there is."""

    async def add_conflict(self, match: str, episode: int, player: int, body_hash: bytes, size: int, at: float) -> None:
        """Record that a player sent something else than before."""

    async def add_refusal(self, match: str, episode: int, player: int, code: str, reason: str, at: float) -> None:
        """Record that an upload was refused. However often it is tried, it is one row for each reason."""

    async def refusals(self) -> list[RefusalRow]:
        """Uploads that were refused, by match, episode and player."""

    # --- verdicts -----------------------------------------------------------------------------------------------

    async def set_verdict(self, row: EpisodeRow) -> None:
        """Record a verdict, in place of an earlier one, and of a reason why there was none."""

    async def set_unjudged(self, row: UnjudgedRow) -> None:
        """Record why an episode has no verdict, in place of an earlier reason. A verdict that it has stays."""

    async def unjudged(self) -> list[UnjudgedRow]:
        """Episodes without a verdict that have a reason for it, by match and episode."""

    async def verdict(self, match: str, episode: int) -> EpisodeRow | None:
        """One episode's verdict."""

    async def verdicts(self, match: str | None = None) -> list[EpisodeRow]:
        """The verdicts of one match, or all, by match and episode."""

    async def counts(self) -> dict[str, int]:
        """Verdicts by kind, over everything there is."""
