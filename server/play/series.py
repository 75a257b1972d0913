"""The matches that an experiment asks for, over all runs of the server: how many there were, and which number is next.

A match's seed follows from its number, so that no two matches that are played have one number. What was begun by an
earlier run counts: a restart neither begins the experiment again nor repeats its seeds.
"""

from __future__ import annotations

import heapq

from rollgym.server.storage.rows import SeriesProgress


class Series:
    """Counts and numbers. Owned by the event loop."""

    def __init__(self, earlier: SeriesProgress, wanted: int | None) -> None:
        """``earlier``: what the catalogue has of this experiment and condition. ``wanted`` None: no end."""
        self.wanted = wanted
        self.begun = earlier.begun
        """Matches that were started and not annulled, in all runs."""
        self.over = earlier.over
        """Those of them that are over."""
        self._next = earlier.next_number
        self._free = list(earlier.free_numbers)
        heapq.heapify(self._free)

    @property
    def room(self) -> bool:
        """Whether the experiment wants one more match."""
        return self.wanted is None or self.begun < self.wanted

    @property
    def done(self) -> bool:
        """All matches that the experiment asks for are over."""
        return self.wanted is not None and self.over >= self.wanted

    def look_again(self, now: SeriesProgress) -> None:
        """``now``: what the catalogue has. Another process over the same catalogue has taken numbers, too."""
        self.begun, self.over = max(self.begun, now.begun), max(self.over, now.over)
        self._next = max(self._next, now.next_number)
        self._free = [number for number in now.free_numbers if number < now.next_number]
        heapq.heapify(self._free)

    def take(self) -> int:
        """The number of a new match: the lowest that was never played."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        """A match of this number will never be played, and the catalogue knows it."""
        heapq.heappush(self._free, number)
