"""Plays the frames of an episode as they are due."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.pacing import CATCH_UP_BATCH, Pacing
from rollgym.client_sim.peer.remote_peer import RemotePeer
from rollgym.client_sim.rollback.session import SessionProgress
from rollgym.protocol.messages import PlaySettings

# A member looked up in its Enum costs three times a name (before Python 3.12).
_READY, _STALLED, _TERMINAL, _OVER = SessionProgress


class Playing:
    """Brings clock, session and input together: settle, step, and again while more is due."""

    __slots__ = ("_lockstep", "_pacing", "_remotes", "_stops")

    def __init__(self, settings: PlaySettings, pacing: Pacing, remotes: Sequence[RemotePeer]) -> None:
        self._pacing = pacing
        self._remotes = remotes
        self._lockstep = settings.max_prediction == 0
        self._stops = settings.on_desync == "stop"

    def advance(self, episode: Episode, now: float) -> SessionProgress:
        """Play what is due at ``now``, up to a difference of states that is to end the match."""
        pacing, session = self._pacing, episode.session
        budget = CATCH_UP_BATCH
        progress = episode.settle(now)
        while now >= pacing.next_tick or (budget > 0 and pacing.behind(session)):
            if episode.desyncs and self._stops:
                break
            if now >= pacing.next_tick:
                episode.ticks += 1
                pacing.tick(self._ahead())
            budget -= 1
            if progress is _READY:
                episode.step(now, self._rtt(), float(self._advantage(episode)), away=pacing.idles(now, session))
            elif progress is _STALLED:
                session.stats.stalls += 1
                if self._lockstep:
                    episode.register()
            elif progress is _OVER:
                break
            if session.terminal_frame is None and now < pacing.next_tick and not pacing.behind(session):
                break
            progress = episode.settle(now)
        return progress

    def _ahead(self) -> float:
        return max([remote.sync.ahead for remote in self._remotes]) if self._remotes else 0.0

    def _advantage(self, episode: Episode) -> int:
        # The largest lead is the one over whom we have heard the least of.
        return episode.session.current - min([remote.current for remote in self._remotes]) if self._remotes else 0

    def _rtt(self) -> float:
        return max([remote.rtt for remote in self._remotes]) if self._remotes else float("nan")
