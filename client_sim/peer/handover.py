"""When an episode's export is handed over, and how much of it.

Where play ends with a player who leaves, every export is a prefix of the same frames, and is handed over at once. Where
it goes on (``on_disconnect: continue``), others may go on otherwise from the last of our inputs that they have: then an
export is complete only once they have all of them, and any other ends where
:mod:`~rollgym.client_sim.peer.disconnect_agreement` says.
"""

from __future__ import annotations

from typing import Any

from rollgym.client_sim.peer.disconnect_agreement import DisconnectAgreement
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.events import EpisodeEnded, PeerEvent
from rollgym.protocol.episode.export import Export, Status


class Handover:
    """The exports of one peer. ``epoch``: Unix seconds at time 0 of its clock."""

    def __init__(
        self,
        departures: DisconnectAgreement,
        events: list[PeerEvent],
        policy: dict[str, Any],
        software: dict[str, str],
        epoch: float,
    ) -> None:
        self.exports: list[Export] = []
        """Those that are not fetched yet."""
        self._departures = departures
        self._events = events
        self._policy = policy
        self._software = software
        self._epoch = epoch
        self._held: Export | None = None
        self._given = 0

    def finish(self, episode: Episode, status: Status, now: float) -> None:
        """The match ends here, with ``status`` unless the episode is complete as it stands: hand over what holds."""
        frames = self._departures.safe_frames(episode.session, over=False) if self._departures.goes_on else None
        cut = frames is not None and frames < episode.session.canonical
        if episode.complete and not cut and status not in ("desync", "error"):
            status = "complete"
        self._held = None
        self._give(self._export(episode, status, now, frames))

    def complete(self, episode: Episode, status: Status, now: float) -> Export:
        """The episode's last frame is canonical. Returns its export, handed over or held back."""
        export = self._export(episode, status, now, None)
        if self._departures.goes_on and episode.failure is None:
            self._held = export
            self.release(episode)
        else:
            self._give(export)
        return export

    @property
    def holds(self) -> bool:
        """An export is held back."""
        return self._held is not None

    def release(self, episode: Episode) -> None:
        """Hand over what is held back, if nobody can contradict it any more."""
        held = self._held
        if held is not None and self._departures.safe_frames(episode.session, over=True) >= held.header.frames:
            self._held = None
            self._give(held)

    def beyond(self, episode: Episode) -> bool:
        """What was handed over of this episode goes beyond what those who are missing have."""
        return self._given > self._departures.safe_frames(episode.session, over=False)

    def begin(self) -> None:
        """Another episode begins."""
        self._given = 0

    def _export(self, episode: Episode, status: Status, now: float, frames: int | None) -> Export:
        return episode.export(status, now, self._epoch + now, self._policy, self._software, frames)

    def _give(self, export: Export) -> None:
        self.exports.append(export)
        header, tail = export.header, export.own.tail
        self._given = header.frames
        unconfirmed = len(tail.inputs) if tail is not None else 0
        self._events.append(
            EpisodeEnded(header.episode, header.status, header.frames, unconfirmed, dict(export.own.stats))
        )
