"""The stream of events of one server. Whatever a subscriber does, what it is told of has happened and goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from rollgym.server.events.kinds import Event

log = structlog.get_logger("rollgym.server.events")


class Published(NamedTuple):
    """An event, and when it happened."""

    number: int
    """From 0, without gaps, over one run of the server."""
    at: float
    """Unix seconds."""
    event: Event


Subscriber = Callable[[Published], None]
"""Is called in the event loop, in the order of the events, before ``publish`` returns. It must not block."""


class EventStream:
    """Owned by the event loop. ``clock`` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._next = 0

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell it of every event from now on. Returns what ends that."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """It has happened. A subscriber that fails is logged, and costs nobody else the event."""
        published = Published(self._next, self._clock(), event)
        self._next += 1
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(published)
            except Exception:
                log.exception("subscriber_failed", kind=event.kind, number=published.number)
