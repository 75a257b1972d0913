"""What a prediction rule is given, and what it has to be."""

from __future__ import annotations

from collections.abc import Callable

from rollgym.client_sim.rollback.input_queue import HISTORY, InputQueue


class InputHistory:
    """The confirmed inputs of one player, to be read only. Lives as long as the episode and grows with it."""

    __slots__ = ("_player", "_queue", "_values")

    def __init__(self, queue: InputQueue, player: int) -> None:
        self._queue = queue
        self._values = queue.values
        self._player = player

    @property
    def player(self) -> int:
        """Whose inputs these are."""
        return self._player

    @property
    def default(self) -> bytes:
        """The input of a player who does nothing; its length is that of all inputs of the player."""
        return self._queue.default

    @property
    def last(self) -> int:
        """The newest frame with a confirmed input; -1 before there is one."""
        return self._queue.last

    @property
    def newest(self) -> bytes:
        """The input of frame ``last``; the default before there is one."""
        values = self._values
        return values[-1] if values else self._queue.default

    def value(self, frame: int) -> bytes:
        """The confirmed input of a frame, one of the newest ``HISTORY`` up to ``last``.

        Raises ``IndexError`` for any other frame, also where an older input happens to be there still.
        """
        last = self._queue.last
        if not max(0, last - HISTORY + 1) <= frame <= last:
            raise IndexError(frame)
        return self._queue.value(frame)


Predictor = Callable[[InputHistory, int], bytes]
"""A prediction rule: ``(confirmed inputs of one player, frame) -> the input it will most probably have there``.

Called for every player whose input for a frame that is to be simulated is not known, ``frame > history.last``; and
again for the same frame when a rollback comes by. It gives the bytes of an action of the player's space, as wide as
``history.default``: one of the inputs that are there, most likely.

A pure function of what it is given: the same confirmed inputs give the same prediction, whenever and however often it
is asked. Anything else would make rollbacks depend on packet timing. It must not keep the history. What it raises ends
the episode with status ``error``.
"""
