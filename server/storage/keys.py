"""What names an upload and an episode in the record. No path, and no text of a client."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

_MATCH = re.compile(r"m[0-9a-f]{24}")


class EpisodeKey(NamedTuple):
    """An episode of a match."""

    match: str
    episode: int


class UploadKey(NamedTuple):
    """One player's upload of an episode."""

    match: str
    episode: int
    player: int

    @property
    def of(self) -> EpisodeKey:
        """The episode that it is of."""
        return EpisodeKey(self.match, self.episode)


def new_match_id() -> str:
    """A fresh match id: 12 random bytes, so that ids never collide across servers and runs."""
    return "m" + secrets.token_hex(12)


def is_match_id(text: str) -> bool:
    """Whether ``text`` is a match id of ours. Everything else is kept out of a store's names."""
    return _MATCH.fullmatch(text) is not None
