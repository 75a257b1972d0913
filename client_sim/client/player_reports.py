"""What a player process reports of its match: into the client's result, to its uploads, and to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from rollgym.client_sim.client.results import ClientEvent, PlayResult
from rollgym.client_sim.exports.export_files import NotKeptError
from rollgym.client_sim.exports.upload import Uploader
from rollgym.client_sim.peer.events import DesyncFound, EpisodeEnded, EpisodeStarted, MatchEnded, PeerEvent
from rollgym.client_sim.player.messages import Exported, Happened, Kept, NotKept, ToClient

log = structlog.get_logger(__name__)


class PlayerReports:
    """Of all matches of one client. ``notify`` gets the peer's events; ``fail`` what a kept copy has failed with."""

    def __init__(
        self,
        result: PlayResult,
        uploader: Uploader,
        notify: Callable[[ClientEvent], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.keep: Path | None = None
        """Where copies of exports are kept, as the caller named it."""
        self._result = result
        self._uploader = uploader
        self._notify = notify
        self._fail = fail

    def take(self, message: ToClient) -> None:
        """A message of the player process."""
        if isinstance(message, Exported):
            self._uploader.submit(message.spooled())
        elif isinstance(message, Happened):
            self._take_event(message.event())
        elif isinstance(message, Kept):
            # As the caller named the folder; the message has it absolute.
            self._result.kept.append(Path(self.keep or "", *Path(message.path).parts[-2:]))
        elif isinstance(message, NotKept):
            self._fail(NotKeptError(message.reason))

    def _take_event(self, event: PeerEvent) -> None:
        if isinstance(event, EpisodeStarted):
            log.info("episode started", episode=event.episode, player=self._result.player)
        elif isinstance(event, EpisodeEnded):
            self._result.episodes.append(event)
            log.info("episode ended", episode=event.episode, status=event.status, frames=event.frames)
            if event.unconfirmed:
                log.warning(
                    "frames without the partner's inputs are kept apart",
                    episode=event.episode,
                    frames=event.unconfirmed,
                )
        elif isinstance(event, DesyncFound):
            self._result.desyncs.append(event)
            log.error("states differ between the players", episode=event.episode, frame=event.frame)
        elif isinstance(event, MatchEnded):
            self._result.reason = event.reason
        self._notify(event)
