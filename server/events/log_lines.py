"""Events as lines of the log."""

from __future__ import annotations

import structlog

from rollgym.server.events.stream import Published

log = structlog.get_logger("rollgym.server")


def write_line(published: Published) -> None:
    """A subscriber: one line for an event that has a level. What is not known of it is left out."""
    event = published.event
    if event.level is not None:
        said = {name: value for name, value in event.fields().items() if value is not None}
        getattr(log, event.level)(event.kind, **said)
