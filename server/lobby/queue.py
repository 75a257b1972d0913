"""Who waits and who is paired with whom. Arrival order; no I/O, no clock, no randomness.

A client is in one place at a time: nowhere, in the queue, or seated in a group. A group is taken from the front of
the queue and stays together until it is dissolved. If one of a group is lost before play began, the others go back
to the *front* of the queue, in their old order: they have waited longest.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum


class Place(Enum):
    """Where a client is."""

    NOWHERE = "nowhere"
    WAITING = "waiting"
    SEATED = "seated"


class LobbyError(Exception):
    """A client cannot join. ``code`` is one of ``already_waiting``, ``already_playing``, ``full``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Group:
    """Clients who were paired, in arrival order. Compared by identity."""

    __slots__ = ("members",)

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members

    def __repr__(self) -> str:
        return f"Group{self.members}"


class Lobby:
    """The queue and the seats. Every method leaves every client in exactly one place."""

    def __init__(self, seats: int, capacity: int) -> None:
        """``seats`` clients make a group; at most ``capacity`` may wait."""
        if seats < 1:
            raise ValueError(f"seats {seats}: expected at least 1")
        self._seats = seats
        self._capacity = capacity
        self._queue: OrderedDict[str, None] = OrderedDict()
        self._groups: dict[str, Group] = {}

    @property
    def waiting(self) -> int:
        """How many clients are in the queue."""
        return len(self._queue)

    @property
    def needed(self) -> int:
        """How many clients make a group."""
        return self._seats

    @property
    def seated(self) -> int:
        """How many clients are in a group."""
        return len(self._groups)

    def queue(self) -> tuple[str, ...]:
        """The queue, front first."""
        return tuple(self._queue)

    def place(self, client: str) -> Place:
        """Where the client is."""
        if client in self._queue:
            return Place.WAITING
        return Place.SEATED if client in self._groups else Place.NOWHERE

    def check_nowhere(self, client: str) -> None:
        """Raises :class:`LobbyError` if the client waits or is seated."""
        place = self.place(client)
        if place is Place.WAITING:
            raise LobbyError("already_waiting", "this connection is in the queue already")
        if place is Place.SEATED:
            raise LobbyError("already_playing", "this connection plays a match: leave or finish it first")

    def join(self, client: str) -> None:
        """Put a client at the end of the queue. Raises :class:`LobbyError` and changes nothing if it cannot be."""
        self.check_nowhere(client)
        if len(self._queue) >= self._capacity:
            raise LobbyError("full", f"{len(self._queue)} clients are waiting: no more are taken")
        self._queue[client] = None

    def leave(self, client: str) -> Place:
        """Take a client out of the queue or out of its seat (its group stays as it is). Says where it was."""
        place = self.place(client)
        self._queue.pop(client, None)
        self._groups.pop(client, None)
        return place

    def pair(self) -> Group | None:
        """Seat the clients at the front of the queue, or None if there are too few."""
        if len(self._queue) < self._seats:
            return None
        members = tuple(self._queue.popitem(last=False)[0] for _ in range(self._seats))
        group = Group(members)
        for client in members:
            self._groups[client] = group
        return group

    def dissolve(self, group: Group) -> tuple[str, ...]:
        """Play will not begin: those still seated go back to the front of the queue. Says who they are."""
        # One connection may have taken two seats, one after the other (:meth:`replace`).
        remaining = tuple(dict.fromkeys(client for client in group.members if self._groups.get(client) is group))
        for client in reversed(remaining):
            del self._groups[client]
            self._queue[client] = None
            self._queue.move_to_end(client, last=False)
        return remaining

    def replace(self, old: str, new: str, group: Group) -> None:
        """``new`` takes ``old``'s seat in a group, whether ``old`` still sits there or not. ``new`` must be nowhere."""
        assert self.place(new) is Place.NOWHERE
        if self._groups.get(old) is group:
            del self._groups[old]
        group.members = tuple(new if member == old else member for member in group.members)
        self._groups[new] = group

    def release(self, client: str, group: Group) -> None:
        """The client is done with this group's match; it is nowhere, unless it has gone elsewhere already."""
        if self._groups.get(client) is group:
            del self._groups[client]
