"""When a peer's frames are due: its clock, catching up, and what a time in which it was not scheduled means."""

from __future__ import annotations

from rollgym.client_sim.rollback.input_book import MAX_AHEAD
from rollgym.client_sim.rollback.session import Session
from rollgym.client_sim.rollback.time_sync import stretch
from rollgym.protocol.messages import PlaySettings

CATCH_UP_AFTER = 4
"""Known frames of everybody else, beyond what the input delay explains, that show this peer is behind: it then steps
without waiting for its clock."""

AWAY_AFTER = 0.3
"""Seconds without a packet, or without being scheduled, after which a player counts as away: longer than a burst of
losses or a TCP retransmission, shorter than anybody would wait in a game."""

CATCH_UP_BATCH = 32
"""Frames caught up in one poll, so that packets and signals are looked at in between."""

CLOCK_DEBT = 4
"""Frame periods of lateness that are made up for. A longer gap was a pause, and the clock starts anew."""

NEVER = float("inf")


class Pacing:
    """The clock of one peer. Times are seconds on the clock of whoever drives it."""

    __slots__ = (
        "_away_until",
        "_catch_up_after",
        "_wide",
        "_window",
        "debt",
        "extra_at",
        "next_tick",
        "period",
        "plays_on",
        "polled",
    )

    def __init__(self, settings: PlaySettings, now: float) -> None:
        self.period = 1.0 / settings.fps
        self.debt = CLOCK_DEBT * self.period
        """Seconds of lateness that are made up for."""
        self.next_tick = now
        """When the next frame (or packet, between episodes) is due."""
        self.extra_at = NEVER
        """When to send the inputs once more between two ticks: a second chance where packets are being lost. Streams
        lose nothing, and more packets there would only mean more that a late one holds up."""
        self.plays_on = settings.away == "play_on"
        self._window = settings.max_prediction
        self._wide = max(settings.max_prediction, int(settings.away_limit * settings.fps))
        self._catch_up_after = CATCH_UP_AFTER + settings.input_delay
        self.polled = now
        """When the peer was last asked what is due. :data:`AWAY_AFTER` later, it was not scheduled."""
        self._away_until = now
        # The local player was away: until then, frames that the others have played already are idle ones of its own.

    def start(self, now: float) -> None:
        """Due at once, and no second chances: an episode begins or ends."""
        self.next_tick = now
        self.extra_at = NEVER

    def skip(self, now: float) -> None:
        """More time has passed than is made up for: the clock starts anew. What the others have played meanwhile is
        idle time if they play on without those who are away."""
        if self.plays_on and now - self.next_tick > AWAY_AFTER:
            self._away_until = now + AWAY_AFTER
        self.next_tick = now

    def tick(self, ahead: float) -> None:
        """One frame period passes, stretched for a peer that is ``ahead`` frames ahead."""
        self.next_tick += self.period * stretch(ahead)

    def plan_extra(self, now: float, lossy: bool) -> None:
        """Inputs were sent at ``now``: if packets are being lost, once more between this tick and the next."""
        self.extra_at = now + self.period / 2 if lossy else NEVER

    def behind(self, session: Session) -> bool:
        """Everybody else's inputs are known well beyond our present frame."""
        ahead = session.inputs.remote_known - session.current
        # Those who are gone are known for ever: without anybody else there is nobody to be behind of.
        if ahead < self._catch_up_after or ahead > MAX_AHEAD:
            return False
        return session.terminal_frame is None

    def idles(self, now: float, session: Session) -> bool:
        """The present frame was missed: the others have played it while the local player was away."""
        if now >= self._away_until or not self.behind(session):
            return False
        # What the others sent meanwhile comes in bit by bit.
        self._away_until = now + AWAY_AFTER
        return True

    def widen(self, session: Session, pause: float) -> None:
        """Play on without those who are away: the window grows as far as ``away_limit`` allows, and closes again.

        ``pause``: seconds since anything came from the player who played least recently.
        """
        session.window = self._wide if pause > AWAY_AFTER else self._window
