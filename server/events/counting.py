"""Events as metrics. What comes with every packet is counted where it comes (:mod:`rollgym.server.play.relay`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollgym.protocol.messages import ANNULLED, COMPLETE
from rollgym.server.events import kinds
from rollgym.server.events.stream import Published, Subscriber
from rollgym.server.metrics import Metrics


def counting(metrics: Metrics) -> Subscriber:
    """A subscriber that keeps ``metrics``."""
    m = metrics
    of_kind: dict[type[kinds.Event], Callable[[Any], None]] = {
        kinds.ClientConnected: lambda e: m.connections.inc(),
        kinds.ClientDisconnected: lambda e: m.connections.dec(),
        kinds.ClientRefused: lambda e: m.refused.labels(e.code).inc(),
        kinds.ClientDropped: lambda e: _dropped(m, e),
        kinds.MessageRefused: lambda e: m.refused.labels(e.code).inc(),
        kinds.QueueChanged: lambda e: m.waiting.set(e.waiting),
        kinds.MatchStarted: lambda e: m.matches_open.inc(),
        kinds.MatchTakenUp: lambda e: m.matches_open.inc(),
        kinds.MatchWithdrawn: lambda e: m.matches.labels("withdrawn").inc(),
        kinds.MatchAnnulled: lambda e: _ended(m, ANNULLED),
        kinds.MatchEnded: lambda e: _ended(m, COMPLETE if e.complete else "incomplete"),
        kinds.ConnectionLost: lambda e: _lost(m),
        kinds.PlayerBack: lambda e: m.resumes.inc(),
        kinds.SeatReleased: lambda e: m.players_away.dec(),
        kinds.UploadStored: lambda e: m.upload_bytes.inc(e.bytes),
        kinds.UploadAnswered: lambda e: _answered(m, e),
        kinds.UploadRefused: lambda e: m.uploads.labels(e.code).inc(),
        kinds.EpisodeJudged: lambda e: _judged(m, e),
        kinds.EpisodeNotJudged: lambda e: m.verdicts.labels("failed").inc(),
    }

    def count(published: Published) -> None:
        counter = of_kind.get(type(published.event))
        if counter is not None:
            counter(published.event)

    return count


def _dropped(metrics: Metrics, event: kinds.ClientDropped) -> None:
    match event.code:
        case "not_reading":
            metrics.dropped_clients.inc()
        case "not_joined":
            metrics.not_joined.inc()
        case _:
            metrics.refused.labels(event.code).inc()


def _lost(metrics: Metrics) -> None:
    metrics.connections_lost.inc()
    metrics.players_away.inc()


def _ended(metrics: Metrics, outcome: str) -> None:
    metrics.matches_open.dec()
    metrics.matches.labels(outcome).inc()


def _answered(metrics: Metrics, event: kinds.UploadAnswered) -> None:
    metrics.uploads.labels(event.stored).inc()
    metrics.upload_seconds.observe(event.seconds)


def _judged(metrics: Metrics, event: kinds.EpisodeJudged) -> None:
    metrics.judge_seconds.observe(event.seconds)
    metrics.verdicts.labels(event.verdict).inc()
