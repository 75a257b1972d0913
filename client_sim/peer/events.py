"""What a peer tells whoever drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollgym.protocol.episode.export import Status


@dataclass(frozen=True)
class EpisodeStarted:
    """Frame 0 of an episode is about to be simulated."""

    episode: int
    seed: int


@dataclass(frozen=True)
class EpisodeEnded:
    """The episode's export is ready. ``unconfirmed``: frames that never became canonical (kept in its tail)."""

    episode: int
    status: Status
    frames: int
    unconfirmed: int
    stats: dict[str, Any]


@dataclass(frozen=True)
class DesyncFound:
    """States of a confirmed frame differ between peers, or their episodes' ends do."""

    episode: int
    frame: int
    player: int
    local: str
    remote: str


@dataclass(frozen=True)
class PlayerGone:
    """Another player left or fell silent."""

    player: int
    reason: str


@dataclass(frozen=True)
class MatchEnded:
    """Nothing more will be played."""

    reason: str


PeerEvent = EpisodeStarted | EpisodeEnded | DesyncFound | PlayerGone | MatchEnded
