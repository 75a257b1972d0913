"""Players who leave: who is gone, and up to which frame its inputs count.

All survivors must agree on that frame, though the last packets of whoever left may have reached only some of them.
Nobody gives up an input that somebody has: it may be part of a canonical frame there. So survivors *hand on* what
others lack until all report the same last frame, and that is the agreement:

* Whoever holds a player for gone says so in every packet, and from then on takes its inputs from survivors only.
  Hearing it from one survivor is enough to hold it for gone too.
* A player's inputs end at frame ``k`` once every survivor has said, in a packet that names the same players as gone
  as we do, that it knows its inputs up to ``k``, and so do we.

**When play goes on** (``on_disconnect: continue``), two sides that cannot hear each other would both go on, each
without the other. So that there is one record:

* A record goes beyond a player who merely fell silent only at the *certain* side: the larger one, or of two equal ones
  that of the lowest player. Whoever said goodbye, or is gone for the server, is on no side.
* Whoever hears that it is held for gone, and does not hold the sender for gone itself (or is not certain), stops, and
  says so (*dropped*). For those who play on that is a goodbye.
* Any other record ends where it has to agree with whatever others go on to: with the last frame of which all of them
  are known to have all inputs (:meth:`DisconnectAgreement.safe_frames`). A complete one is therefore kept back for so
  long.

The agreement on ``k`` holds because after such a packet nobody's ``k`` can grow: inputs of the gone come from survivors
only, and none has more. A further death changes who is gone, and with it what counts as the same; the condition is then
judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.rollback.session import Session
from rollgym.protocol.episode.export import Status
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Forward, idle_bitmap, inputs_that_fit

FORWARD_INTERVAL = 0.05
"""Seconds between two hand-ons of the same inputs: about a round trip, since each waits for a status in return."""


class DisconnectAgreement:
    """The departures of one match, at one peer."""

    def __init__(self, remotes: Sequence[RemotePeer], player: int, settings: PlaySettings) -> None:
        self._remotes = remotes
        self._player = player
        self.silence = settings.silence
        """Seconds for players of whom nothing is heard."""
        # Seconds for players who are there and bring nothing on. One may wait for a third of whom it hears nothing, and
        # which we do hear: it is for that one to find the third gone, and to say so, before anybody is blamed here.
        self._patience = max(settings.silence * (1 if len(remotes) == 1 else 2), settings.start_timeout)
        self.goes_on = settings.on_disconnect == "continue"
        self.dropped = False
        """Others play on without us."""
        self._next_notice = 0.0
        self._next_forward = 0.0
        self.status: Status = "partner_left"
        """What the first departure means for the episode."""
        self._next_leave = float("inf")
        # When the next one is gone, as far as is known.
        self.waiting_since = 0.0
        """Since when nothing could be done but wait for others."""
        self.any_gone = False
        self.flags = (False,) * (len(remotes) + 1)
        """Per player, whether it is gone."""

    def excuse(self, gap: float, now: float) -> None:
        """For ``gap`` seconds nobody listened here: that was no silence of anybody's."""
        for remote in self._remotes:
            remote.last_heard = min(now, remote.last_heard + gap)
            remote.played_at = min(now, remote.played_at + gap)
        self.waiting_since = now

    def longest_pause(self, now: float) -> float:
        """Seconds since anything came from the player who is there and played least recently."""
        return now - min([remote.played_at for remote in self._remotes if remote.gone is None], default=now)

    def suspect(self, remote: RemotePeer, reason: str, status: Status, at: float) -> None:
        """From ``at`` on, ``remote``'s player is gone, unless an earlier moment was named before."""
        if remote.gone is None and (remote.leaves is None or at < remote.leaves[0]):
            remote.leaves = (at, reason, status)
            self._next_leave = min(self._next_leave, at)

    def wait(self, now: float, awaited: Sequence[RemotePeer], session: Session) -> None:
        """We wait for ``awaited``. Whoever of them is there, and has brought nothing on in all that time, is gone.

        A game at work (compiling, loading, generating a level) has ``start_timeout`` for it; its client says that it
        is there. Those who wait for it as we do are not among the awaited, and whoever waits for a third player has to
        find it gone first, in its own time.
        """
        since = now - self._patience
        if self.waiting_since < since:
            for remote in awaited:
                if remote.gone is None and remote.progress_at < since and not self._held_up(remote, since, session):
                    self.suspect(remote, "makes no progress", "partner_silent", now)

    def _held_up(self, remote: RemotePeer, since: float, session: Session) -> bool:
        """It plays, as its packets say, but lacks inputs of a third player that we have: it waits as well."""
        return remote.played_at >= since and any(
            third is not remote
            and third.gone is None
            and remote.known[third.player] < session.queues[third.player].last
            for third in self._remotes
        )

    def slowest(self, session: Session) -> Sequence[RemotePeer]:
        """Those who are there and whose inputs hold the episode up: nobody's end earlier than theirs."""
        queues = session.queues
        there = [remote for remote in self._remotes if remote.gone is None]
        lowest = min([queues[remote.player].last for remote in there], default=0)
        return [remote for remote in there if queues[remote.player].last == lowest]

    def due(self, now: float) -> Sequence[RemotePeer]:
        """Those who are gone as of now, each once; among them whoever has been silent for too long."""
        for remote in self._remotes:
            # Whoever has not come yet has the start timeout.
            if remote.met and now - remote.last_heard > self.silence:
                self.suspect(remote, "silent", "partner_silent", now)
        return list(self._leave(now)) if now >= self._next_leave else ()

    def _leave(self, now: float) -> Iterator[RemotePeer]:
        for remote in self._remotes:
            if remote.leaves is not None and remote.gone is None and now >= remote.leaves[0]:
                if not self.any_gone:
                    self.status = remote.leaves[2]
                    self.any_gone = True
                remote.gone = remote.leaves[1]
                # The others may have waited for this one, as we did.
                self.waiting_since = now
                self.flags = tuple([gone or player == remote.player for player, gone in enumerate(self.flags)])
                yield remote
        awaited = [remote.leaves[0] for remote in self._remotes if remote.leaves is not None and remote.gone is None]
        self._next_leave = min(awaited, default=float("inf"))

    def agreed(self, remote: RemotePeer, session: Session) -> int | None:
        """The last frame whose input of ``remote``'s player counts, once all survivors agree; None until then."""
        known = session.queues[remote.player].last
        for other in self._remotes:
            if other.gone is not None:
                continue
            if other.known[remote.player] != known:
                return None
            if any(
                [other.holds_gone[one.player] != (one.gone is not None) for one in self._remotes if one is not other]
            ):
                return None
        return known

    # -- when play goes on ---------------------------------------------------------------------------------------

    def drop(self, remote: RemotePeer) -> None:
        """``remote``'s player holds us for gone and plays on. One side has to stop."""
        if remote.gone is None or not (remote.left_for_good or self.certain):
            self.dropped = True

    @property
    def certain(self) -> bool:
        """Nobody else can go on without us: our record is the one."""
        silent = [remote.player for remote in self._remotes if remote.gone is not None and not remote.left_for_good]
        if not silent:
            return True
        ours = [self._player, *[remote.player for remote in self._remotes if remote.gone is None]]
        return len(ours) > len(silent) or (len(ours) == len(silent) and min(ours) < min(silent))

    def safe_frames(self, session: Session, *, over: bool) -> int:
        """How many canonical frames no record of another player can contradict. ``over``: the episode came to its end.

        Elsewhere even the certain side keeps to what the silent ones have: it will not be there to say what holds.
        """
        safe = session.canonical
        trusted = over and not self.dropped and self.certain
        for remote in self._remotes:
            if remote.left_for_good or (remote.gone is not None and trusted):
                continue
            if not (over and remote.end is not None):
                # It goes on from what it has: of ours, and of a third player whose packets may not have reached it.
                has = [last for player, last in enumerate(remote.known) if player != self._player]
                safe = min(safe, remote.acked + 1, min(has) + 1)
            closed = session.queues[remote.player].closed
            if closed is not None:
                safe = min(safe, closed + 1)
        return safe

    def missing(self) -> list[RemotePeer]:
        """Those who are held for gone without a word of theirs or the server's: they may come back, and are told."""
        return (
            [remote for remote in self._remotes if remote.gone is not None and not remote.left_for_good]
            if self.goes_on
            else []
        )

    def notices(self, now: float) -> list[RemotePeer]:
        """Those who are to be told now that others play on without them."""
        if now < self._next_notice:
            return []
        self._next_notice = now + FORWARD_INTERVAL
        return self.missing()

    @property
    def ends_at_once(self) -> bool:
        """States differ, or the others hold us for gone and have ended it: there is nothing to agree on."""
        held = all([remote.holds_gone[self._player] for remote in self._remotes])
        return self.status == "desync" or (held and not self.goes_on)

    # -- carrying it out -----------------------------------------------------------------------------------------

    def carry_out(self, session: Session) -> None:
        """What agreements on the last inputs of the gone mean for the episode: it ends there, or goes on."""
        for remote in self._remotes:
            if remote.gone is None or remote.parted:
                continue
            last = self.agreed(remote, session)
            if last is None:
                continue
            remote.parted = True
            if not self.goes_on:
                session.end_after(last)
                continue
            session.disconnect(remote.player, last)
            for other in self._remotes:
                if other.gone is not None:
                    # It may have known inputs of this one that no survivor has, and reached other states with them.
                    session.checksums.forget(other.player)

    def hand_on(self, session: Session, episode: int, now: float) -> Iterator[tuple[int, Forward]]:
        """What survivors lack of the inputs of the gone, as (survivor, packet)."""
        if now < self._next_forward:
            return
        self._next_forward = now + FORWARD_INTERVAL
        for remote in self._remotes:
            if remote.gone is None:
                continue
            queue = session.queues[remote.player]
            held = queue.base + len(queue.values) - 1
            most = inputs_that_fit(len(session.queues), len(queue.default))
            for other in self._remotes:
                start = other.known[remote.player] + 1
                if other.gone is None and queue.base <= start <= held:
                    end = min(held + 1, start + most)
                    values = tuple([queue.value(frame) for frame in range(start, end)])
                    idle = idle_bitmap([queue.source(frame) for frame in range(start, end)])
                    yield other.player, Forward(episode, remote.player, start, values, idle)
