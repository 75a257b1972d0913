"""What is known of every player's inputs: local ones are decided here, the others' come in from outside.

Inputs are facts. One that is taken in never changes, and whatever is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rollgym.client_sim.rollback.errors import (
    InputRefused,
    InputTooFarAhead,
    InputWidth,
    SettingsError,
    UnknownPlayer,
)
from rollgym.client_sim.rollback.input_queue import REAL, InputQueue
from rollgym.client_sim.rollback.interfaces import ActionCheck
from rollgym.client_sim.rollback.settings import SessionSettings

MAX_AHEAD = 1 << 14
"""Frames beyond the present for which another player's inputs are taken in: bounds memory, and is far more than a
peer that was away for minutes will find waiting."""

MAX_SOUND = 1024
"""Inputs of one player that are remembered as looked at: more than people and bots use between two looks, and bounded
where a space has as many actions as a float has values."""


class InputBook:
    """All players' inputs of one episode. ``players``, ``defaults``, ``actions`` and ``idle``: see ``Session``.

    ``current`` is the session's present frame wherever it is asked for.
    """

    __slots__ = (
        "_actions",
        "_local_known",
        "_sound",
        "_takes_idle",
        "any_closed",
        "confirmed",
        "delays",
        "local",
        "queues",
        "remote",
        "remote_known",
    )

    def __init__(
        self,
        defaults: Sequence[bytes],
        local: Collection[int],
        settings: SessionSettings,
        actions: Sequence[ActionCheck],
        idle: bool,
    ) -> None:
        self.local = tuple(sorted(local))
        """The players whose inputs are decided here, in the order in which :meth:`register` takes them."""
        for player in self.local:
            if not 0 <= player < len(defaults):
                raise UnknownPlayer(player, f"0..{len(defaults) - 1}")
        self.remote = tuple(player for player in range(len(defaults)) if player not in self.local)
        # Whoever leaves may have been heard further here than at another survivor, who lacks what no session can be
        # without for longer than its window: that much is kept to hand on.
        keep = settings.max_prediction + settings.input_delay + 64
        self.queues = [InputQueue(default, keep) for default in defaults]
        """One per player."""
        self.delays = dict.fromkeys(self.local, settings.input_delay)
        """Per local player, the frames between deciding an input and the frame it is for."""
        self.any_closed = False
        """A player is gone."""
        self._actions = actions
        self._takes_idle = idle
        self._sound: list[set[bytes]] = [set() for _ in defaults]
        # Per player, inputs that were looked at and are actions: nearly every input is one of a few.
        # Kept up to date where inputs come in: they are read several times a frame.
        self._local_known = -1 if self.local else InputQueue.FOREVER
        self.remote_known = -1 if self.remote else InputQueue.FOREVER
        """The highest frame up to which every remote player's input is known; ``FOREVER`` if all have left."""
        self.confirmed = -1
        """The highest frame up to which every player's input is known; -1 for none."""

    def known(self) -> tuple[int, ...]:
        """Per player: the last frame up to which every input of its own is known."""
        if not self.any_closed:
            return tuple([queue.last for queue in self.queues])
        return tuple([queue.last if queue.closed is None else queue.closed for queue in self.queues])

    def _note_remote(self) -> None:
        queues, remote = self.queues, InputQueue.FOREVER
        for player in self.remote:
            last = queues[player].last
            if last < remote:
                remote = last
        self.remote_known = remote
        local = self._local_known
        self.confirmed = local if local < remote else remote

    # -- other players' inputs -----------------------------------------------------------------------------------

    def add(self, player: int, start: int, values: Sequence[bytes], sources: Sequence[int] | None, current: int) -> int:
        """See :meth:`Session.add_inputs`. Returns how many were new: the last so many of ``values``."""
        if player not in self.remote:
            raise UnknownPlayer(player, f"one of the remote players {self.remote}")
        queue = self.queues[player]
        if queue.closed is not None:
            return 0
        if start < 0:
            raise InputTooFarAhead(player, start, current + MAX_AHEAD)
        width, count = queue.width, len(values)
        if sources is not None and len(sources) != count:
            raise SettingsError("sources", len(sources), f"{count}, one for each input")
        for value in values:
            if len(value) != width:
                raise InputWidth(player, value, width)
        known = queue.check(player, start, values, sources)
        if known == count:
            return 0
        last = start + count - 1
        if last > current + MAX_AHEAD:
            raise InputTooFarAhead(player, last, current + MAX_AHEAD)
        if sources is not None:
            self._check_idle(player, start + known, values[known:], sources[known:])
        if self._actions and not self._sound[player].issuperset(values[known:] if known else values):
            self._check_actions(player, start + known, values[known:])
        for at in range(known, count):
            queue.append(values[at], REAL if sources is None else sources[at])
        self._note_remote()
        return count - known

    def _check_actions(self, player: int, start: int, values: Sequence[bytes]) -> None:
        sound = self._sound[player]
        for frame, value in enumerate(values, start):
            reason = self._actions[player](value)
            if reason is not None:
                raise InputRefused(player, frame, value, reason)
            if len(sound) >= MAX_SOUND:
                sound.clear()
            sound.add(value)

    def _check_idle(self, player: int, start: int, values: Sequence[bytes], sources: Sequence[int]) -> None:
        default = self.queues[player].default
        for frame, (value, source) in enumerate(zip(values, sources, strict=True), start):
            if source != REAL and not self._takes_idle:
                raise InputRefused(player, frame, value, "filled in, which this match rules out")
            if source != REAL and value != default:
                raise InputRefused(player, frame, value, f"filled in, but not the default {default.hex()}")

    def close(self, player: int, after: int, canonical: int) -> bool:
        """See :meth:`Session.disconnect`. ``canonical`` frames are so already. False: the player was gone before."""
        if player not in self.remote:
            raise UnknownPlayer(player, f"one of the remote players {self.remote}")
        queue = self.queues[player]
        if queue.closed is not None:
            return False
        if not canonical - 1 <= after <= queue.last:
            raise InputTooFarAhead(player, after, queue.last)
        queue.close(after)
        self.any_closed = True
        self._note_remote()
        return True

    # -- local inputs --------------------------------------------------------------------------------------------

    def set_delay(self, player: int, frames: int) -> None:
        """See :meth:`Session.set_input_delay`."""
        if player not in self.local:
            raise UnknownPlayer(player, f"one of the local players {self.local}")
        if frames < 0:
            raise SettingsError("input_delay", frames, "an integer of at least 0")
        self.delays[player] = frames

    def register(self, inputs: Sequence[bytes], source: int, current: int) -> None:
        """See :meth:`Session.register`."""
        if len(inputs) != len(self.local):
            raise UnknownPlayer(len(inputs), f"inputs for the {len(self.local)} local players")
        queues = self.queues
        for at, player in enumerate(self.local):
            if len(inputs[at]) != queues[player].width:
                raise InputWidth(player, inputs[at], queues[player].width)
        local = InputQueue.FOREVER
        for at, player in enumerate(self.local):
            queue = queues[player]
            target = current + self.delays[player]
            if queue.next <= target:  # else the delay was lowered, and this frame's input is decided already
                while queue.next < target:
                    # The first frames of an episode, or the delay was raised: hold the newest input.
                    queue.append(queue.values[-1] if queue.values else queue.default)
                queue.append(inputs[at], source)
            if queue.last < local:
                local = queue.last
        self._local_known, remote = local, self.remote_known
        self.confirmed = local if local < remote else remote

    # -- the past ------------------------------------------------------------------------------------------------

    def wrong_player(self, frame: int, used: Sequence[bytes]) -> int | None:
        """The lowest player whose known input for ``frame`` is another one than the one that was ``used``."""
        for player, queue in enumerate(self.queues):
            if frame <= queue.last and queue.value(frame) != used[player]:
                return player
        return None
