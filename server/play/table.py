"""Who plays what at the moment: matches by id, seats by connection, players by ticket. No I/O."""

from __future__ import annotations

from rollgym.server.play.match import Match
from rollgym.server.storage.rows import Holder
from rollgym.server.tickets import ticket_hash


class Table:
    """The matches that are not over, and how to find them."""

    def __init__(self) -> None:
        self.matches: dict[str, Match] = {}
        """By id, oldest first."""
        self._tickets: dict[bytes, Holder] = {}
        self._of_client: dict[str, set[str]] = {}

    def add(self, match: Match, tickets: tuple[str, ...] = ()) -> None:
        """A match begins. ``tickets``: its players', if there are any to play it."""
        self.matches[match.row.id] = match
        for player, ticket in enumerate(tickets):
            self._tickets[ticket_hash(ticket)] = Holder(match.row.id, player)
        for seat in match.seats:
            if seat.client is not None:
                self.sit_down(match, seat.client)

    def remove(self, match: Match) -> None:
        """A match is over."""
        del self.matches[match.row.id]
        for hashed in [h for h, holder in self._tickets.items() if holder.match == match.row.id]:
            del self._tickets[hashed]
        for seat in match.seats:
            if seat.client is not None:
                self.stand_up(match, seat.client)

    def holder(self, hashed_ticket: bytes) -> Holder | None:
        """Whose ticket it is, among matches that are not over."""
        return self._tickets.get(hashed_ticket)

    def has_seat(self, client: str) -> bool:
        """Whether a connection has a seat, be it of a player who is done."""
        return bool(self._of_client.get(client))

    def seats_of(self, client: str) -> list[tuple[Match, int]]:
        """The seats that a connection has, those of players who are done included."""
        matches = [self.matches[match] for match in self._of_client.get(client, ())]
        return [(match, n) for match in matches for n, seat in enumerate(match.seats) if seat.client == client]

    def playing(self, client: str) -> tuple[Match, int] | None:
        """The seat of a connection in the match that it plays, if it plays one."""
        return next(((match, n) for match, n in self.seats_of(client) if not match.seats[n].done), None)

    def sit_down(self, match: Match, client: str) -> None:
        """A connection has a seat of a match from now on, if that is not over."""
        if match.row.id in self.matches:
            self._of_client.setdefault(client, set()).add(match.row.id)

    def stand_up(self, match: Match, client: str) -> None:
        """A connection has no seat of a match any more."""
        held = self._of_client.get(client)
        if held is not None:
            held.discard(match.row.id)
            if not held:
                del self._of_client[client]

    def lost(self, client: str) -> list[tuple[Match, int]]:
        """A connection is gone. Which seats it had."""
        seats = self.seats_of(client)
        self._of_client.pop(client, None)
        for match, player in seats:
            match.seats[player].client = None
        return seats
