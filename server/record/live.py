"""What the reception of uploads asks of the matches that are being played, and tells them."""

from __future__ import annotations

from typing import Protocol

from rollgym.server.storage.rows import Holder, MatchRow


class LiveMatches(Protocol):
    """Matches that are not over. Called in the event loop."""

    def holder_of(self, hashed_ticket: bytes) -> Holder | None:
        """Whose ticket it is, among these matches."""

    def row_of(self, match: str) -> MatchRow | None:
        """What was agreed for one of them."""

    def uploaded(self, match_id: str, episode: int, player: int) -> bool:
        """An upload is durable. False if its match is none of these: it has to be revived."""

    async def revive(self, row: MatchRow) -> None:
        """A match that is over got an upload: it waits for verdicts again."""
