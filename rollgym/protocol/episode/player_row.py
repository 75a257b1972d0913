"""What a player's export of an episode comes to, as a row: of a catalogue, and of a table of all episodes."""

from __future__ import annotations

from msgspec import Struct


class EpisodePlayerRow(Struct, frozen=True, gc=False):
    """What one player's export of an episode comes to. None where there is no number."""

    player: int
    policy: str
    """What drove the player."""
    began: float | None
    """Unix seconds, on the player's own clock."""
    ended: float | None
    reward: float | None
    """The sum of its agent's rewards in the canonical part that the verdict is about."""
    rollbacks: int
    mispredicted: int
    """Frames of which some prediction was wrong."""
    speculative: int
    """Frames that were simulated with a predicted input."""
    stalls: int | None
    """As the player says: nothing else in the export tells it."""
    rtt: float | None
    """The median of the frames' round-trip times, in seconds."""
