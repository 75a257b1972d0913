"""What the server hears of a player during a match: whether it lives, and whether it brings the match on.

Every packet on the relay is a sign of life. Only inputs, ends of episodes and uploads bring a match on: a peer whose
game is stuck goes on saying hello. And inputs alone, for ever the same ones, bring it on only as long as somebody gets
further in it (:attr:`Signs.advanced`).
"""

from __future__ import annotations

from collections.abc import Callable

from rollgym.protocol.packets import Reached, reached

MAX_FAILED = 16
"""Uploads in a row that may fail and still count as bringing something on: the disk may be full for a while, and its
player is not to blame; but nobody holds a match for ever with bodies that are refused."""


class Signs:
    """One player's. Times are seconds of the server's monotonic clock."""

    __slots__ = ("_failed", "_furthest", "_last", "_requests", "advanced", "heard", "moved", "new_episode")

    def __init__(self, now: float, last: Reached) -> None:
        """``last``: the last episode, and the furthest frame that any peer can get to in one."""
        self.heard = now
        """When its last packet came."""
        self.moved = now
        """When it last brought something on, as far as it can: its partner may be what it waits for."""
        self.advanced = now
        """When it last got further than ever."""
        self.new_episode: Callable[[int], None] | None = None
        """Called when it gets to an episode that it had not got to before."""
        self._last = last
        self._furthest = Reached(-1, -1)
        self._requests = 0
        self._failed = 0

    def packet(self, data: bytes, now: float) -> None:
        """A message of its own came on the relay: a byte for the receiver, and a packet."""
        self.heard = now
        at = reached(data, 1)
        if at is None:
            return
        self.moved = now
        if at > self._furthest and at.episode <= self._last.episode and at.frame <= self._last.frame:
            before, self._furthest = self._furthest, at
            self.advanced = now
            if at.episode > before.episode and self.new_episode is not None:
                self.new_episode(at.episode)

    def opened(self, now: float) -> None:
        """It has opened the relay."""
        self.heard = self.moved = now

    def upload_begins(self) -> None:
        """A request of its own has come. While the server is at work on it, nothing else can be expected."""
        self._requests += 1

    def upload_ends(self, now: float, *, stored: bool) -> None:
        """The request has been answered. ``stored``: with something new in the dataset."""
        self._requests -= 1
        self._failed = 0 if stored else self._failed + 1
        if self._failed <= MAX_FAILED:
            self.moved = now
        if stored:
            self.advanced = now

    @property
    def uploading(self) -> bool:
        """A request of its own is being worked on. Each has its own time limit."""
        return self._requests > 0 and self._failed <= MAX_FAILED
