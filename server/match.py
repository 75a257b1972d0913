"""One match as a state machine without I/O: who plays, what was received, what has to be judged, when it is over.

paired (told of it) -> playing (everyone has opened the relay) -> uploading (everyone has finished or left) -> over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from protocol.messages import Verdict
from server.catalogue import MatchRow
from server.lobby import Group


class Phase(Enum):
    """How far a match is."""

    PAIRED = "paired"
    PLAYING = "playing"
    UPLOADING = "uploading"
    OVER = "over"


@dataclass
class Seat:
    """One player of a match."""

    participant: str
    client: str | None
    """Its control connection; None once that is gone."""
    relayed: bool = False
    """It has opened the relay."""
    finished: bool = False
    """It said that it has uploaded everything."""
    left_at: float | None = None

    @property
    def done(self) -> bool:
        """It will play no more."""
        return self.finished or self.left_at is not None


@dataclass
class Match:
    """Times are seconds of one monotonic clock."""

    row: MatchRow
    seats: list[Seat]
    upload_grace: float
    group: Group | None = None
    """None for a match of an earlier run of the server."""
    index: int | None = None
    """The experiment's how-manieth match of this run it is."""
    uploads: dict[int, set[int]] = field(default_factory=dict)
    """Episode -> players whose upload is durable."""
    judged: dict[int, frozenset[int]] = field(default_factory=dict)
    """Episode -> players whose uploads the verdict is about."""
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    """Episodes that are being judged."""
    given_up: set[int] = field(default_factory=set)
    """Episodes whose judgement failed again and again. Their uploads stay in the inbox for the next start."""
    ended: bool = False

    @property
    def phase(self) -> Phase:
        """How far the match is."""
        if self.ended:
            return Phase.OVER
        if all(seat.done for seat in self.seats):
            return Phase.UPLOADING
        return Phase.PLAYING if all(seat.relayed for seat in self.seats) else Phase.PAIRED

    def leave(self, player: int, now: float) -> bool:
        """The player's connection ended or it said so. False if it had left or finished before."""
        seat = self.seats[player]
        if seat.done:
            return False
        seat.left_at = now
        return True

    def to_judge(self, now: float) -> list[int]:
        """Episodes whose verdict can be found now: all uploads are in, or no more are waited for."""
        closed = self.closed(now)
        return [
            episode
            for episode, players in sorted(self.uploads.items())
            if episode not in self.running
            and episode not in self.given_up
            and players - self.judged.get(episode, frozenset())
            and (closed or len(players) == len(self.seats))
        ]

    def complete(self) -> bool:
        """Every player's upload of every episode is in."""
        wanted = len(self.seats)
        return all(len(self.uploads.get(episode, ())) == wanted for episode in range(self.row.settings.episodes))

    def closes_at(self) -> float | None:
        """When missing uploads are no longer waited for; None while someone still plays."""
        if self.complete() or all(seat.finished for seat in self.seats):
            return float("-inf")
        if not all(seat.done for seat in self.seats):
            return None
        return max(seat.left_at for seat in self.seats if seat.left_at is not None) + self.upload_grace

    def closed(self, now: float) -> bool:
        """Nothing more is waited for."""
        at = self.closes_at()
        return at is not None and now >= at

    def over(self, now: float) -> bool:
        """Nothing more is waited for, and everything received has its verdict."""
        return self.closed(now) and not self.running and not self.to_judge(now)

    def outcome(self) -> str:
        """Why the match is over, for people."""
        wanted = self.row.settings.episodes
        if len(self.verdicts) == wanted and all(v.verdict == "verified" for v in self.verdicts.values()):
            return "complete"
        if self.given_up:
            return f"incomplete: episodes {sorted(self.given_up)} could not be judged"
        return f"incomplete: {len(self.verdicts)} of {wanted} episodes received"
