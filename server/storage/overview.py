"""Rows of an overview of all episodes, with a row for each player of each."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from rollgym.protocol.episode.player_row import EpisodePlayerRow


class OverviewMatch(NamedTuple):
    """What a match was of, as far as an overview needs it."""

    game: str
    version: str
    players: tuple[str, ...]
    """The agents that have a player, in player order."""
    input_delay: int
    identity: bytes
    """The game's description as it is stored: equal bytes, the same game with the same parameters and spaces."""


class OverviewRow(Struct, frozen=True, gc=False):
    """A player of an episode; or, with ``episode`` None, a player of a match that is over and has no episode."""

    match: str
    episode: int | None
    player: int
    participant: str
    experiment: str
    condition: str
    number: int | None
    created: float
    ended: float | None
    annulled: int
    reason: str | None
    """How the match ended."""
    received: float | None
    """When the player's upload was. None: nothing came from it."""
    upload_frames: int | None
    upload_status: str | None
    verdict: str | None
    """None: it has none."""
    detail: str | None
    """Of the verdict, or why there is none."""
    players: bytes | None
    """JSON: whom the verdict is about."""
    frames: int | None
    status: str | None
    seed: int | None
    files: bytes | None
    """JSON: names in the episode's folder."""
    judged: float | None
    counted: EpisodePlayerRow | None
    """None if the verdict is not about this player, or of an earlier version of the server."""
