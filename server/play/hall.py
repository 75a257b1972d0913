"""What the parts of play share: who sits where, whom to tell, where it is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from msgspec import Struct

from rollgym.server.events.stream import EventStream
from rollgym.server.play.match import Match
from rollgym.server.play.relay import Relay
from rollgym.server.play.seat_resume import SeatResume
from rollgym.server.play.table import Table
from rollgym.server.storage.background import Background
from rollgym.server.storage.catalogue import Catalogue

Tell = Callable[[str, Struct], Awaitable[None]]
"""Sends a message to a client's control connection. A client that is gone is no error."""


@dataclass
class Hall:
    """Owned by the event loop."""

    catalogue: Catalogue
    relay: Relay
    events: EventStream
    tell: Tell
    clock: Callable[[], float]
    """Seconds of a monotonic clock."""
    released: Callable[[str, object], None] = lambda client, group: None
    """Called when a client is done with a match: the lobby may seat it again."""
    annulled: Callable[[object], None] = lambda group: None
    """Called when play of a group will not begin."""
    counted: Callable[[], None] = lambda: None
    """Called when a match is over that an experiment asked for."""
    stopping: bool = False
    """The server stops: nothing new is begun, and nobody's absence means anything."""
    table: Table = field(default_factory=Table)
    background: Background = field(default_factory=Background)
    seat_resume: SeatResume = field(init=False)

    def __post_init__(self) -> None:
        self.seat_resume = SeatResume(events=self.events, tell=self.tell, clock=self.clock)

    def goes_on(self, match: Match) -> bool:
        """Whether the match is one that is not over, on a server that does not stop."""
        return not match.ended and not self.stopping and self.table.matches.get(match.row.id) is match

    def release(self, match: Match, player: int) -> None:
        """A player is done with the match."""
        seat = match.seats[player]
        if seat.client is not None and match.group is not None:
            self.released(seat.client, match.group)

    def forget(self, match: Match) -> None:
        """The match is over, or never was."""
        self.table.remove(match)
        self.relay.close_match(match.row.id)
        self.seat_resume.remember(match)
