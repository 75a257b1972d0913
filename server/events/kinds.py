"""The kinds of events. Each has a name, by which it stands in the log, and the level at which it stands there.

No event has a secret in it, and none comes with every packet or frame.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import msgspec
from msgspec import Struct

Level = Literal["debug", "info", "warning", "error"]


def _name(of_class: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", of_class).lower()


class Event(Struct, frozen=True, tag=_name, tag_field="kind", kw_only=True):
    """Something that has happened."""

    level: ClassVar[Level | None] = "info"
    """None: it is counted, and not worth a line."""

    @property
    def kind(self) -> str:
        """Its name: ``match_started``."""
        return str(type(self).__struct_config__.tag)

    def fields(self) -> dict[str, object]:
        """What is said of it, without its name."""
        return msgspec.structs.asdict(self)


# --- clients --------------------------------------------------------------------------------------------------------


class ClientConnected(Event, frozen=True):
    """A control connection is there."""

    level = "debug"
    client: str
    remote: str | None


class ClientDisconnected(Event, frozen=True):
    """It has ended, whoever ended it."""

    level = "debug"
    client: str
    reason: str


class ClientRefused(Event, frozen=True):
    """A connection was not let in."""

    level = None
    code: str


class ClientDropped(Event, frozen=True):
    """The server has ended a connection."""

    code: Literal["not_engineio", "not_socketio", "not_reading", "not_joined"]
    reason: str
    client: str | None = None
    error: str | None = None


class MessageRefused(Event, frozen=True):
    """What a client asked for was refused."""

    client: str
    event_name: str
    code: str
    error: str


class ClientJoined(Event, frozen=True):
    """A client waits for a match."""

    level = "debug"
    client: str
    participant: str


class QueueChanged(Event, frozen=True):
    """Another number of clients waits."""

    level = None
    waiting: int


# --- matches --------------------------------------------------------------------------------------------------------


class MatchStarted(Event, frozen=True):
    """Its players are being told."""

    match: str
    experiment: str
    condition: str
    participants: tuple[str, ...]
    seed: int


class MatchWithdrawn(Event, frozen=True):
    """It was recorded, and a player was gone before anybody was told of it."""

    match: str


class MatchTakenUp(Event, frozen=True):
    """One of an earlier run, or one that was over and got a late upload: it waits for verdicts."""

    level = "debug"
    match: str


class EpisodeReached(Event, frozen=True):
    """A player plays an episode that it had not played before."""

    level = "debug"
    match: str
    player: int
    episode: int


class ConnectionLost(Event, frozen=True):
    """A player's control connection broke during play. Its seat is held."""

    level = "warning"
    match: str
    player: int
    reason: str
    held_for: float
    """Seconds."""


class PlayerBack(Event, frozen=True):
    """It has taken its seat again."""

    match: str
    player: int
    missed: int
    """Messages that it is told now."""


class SeatReleased(Event, frozen=True):
    """A seat is not held any more: its player is back, has left, or the match is over."""

    level = None
    match: str
    player: int


class PlayerLeft(Event, frozen=True):
    """A player plays no more, without having finished."""

    match: str
    player: int
    reason: str


class MatchAnnulled(Event, frozen=True):
    """A player was lost before play began: it never was."""

    match: str


class MatchEnded(Event, frozen=True, tag="match_over"):
    """All verdicts are in that can come."""

    match: str
    reason: str
    complete: bool
    """Every episode is verified."""


# --- uploads and verdicts -------------------------------------------------------------------------------------------


class UploadStored(Event, frozen=True):
    """A player's export of an episode is durable."""

    match: str
    episode: int
    player: int
    frames: int
    bytes: int


class UploadAnswered(Event, frozen=True):
    """An upload was acknowledged: as new, or as known already."""

    level = None
    stored: Literal["new", "same"]
    seconds: float
    """From the request to the answer."""


class UploadRefused(Event, frozen=True):
    """An upload was not taken."""

    path: str
    remote: str | None
    code: str
    error: str


class UploadConflict(Event, frozen=True):
    """A player sent another export than the one that was taken before, which stays."""

    level = "warning"
    match: str
    episode: int
    player: int
    first: str
    """BLAKE3 of the body, in hex."""
    second: str


class EpisodeJudged(Event, frozen=True, tag="verdict"):
    """An episode has its verdict, and its files are in the dataset."""

    match: str
    episode: int
    verdict: str
    frames: int
    detail: str
    seconds: float
    """From all uploads in to the verdict."""


class EpisodeNotJudged(Event, frozen=True, tag="not_judged"):
    """An episode was received and has no verdict."""

    level = "error"
    match: str
    episode: int
    reason_kind: str
    """One of :data:`rollgym.server.record.judging.KINDS`."""
    reason: str
