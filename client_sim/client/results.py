"""What a client reports while it plays, and what it has to show at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollgym.client_sim.exports.upload import Refused, Stored
from rollgym.client_sim.peer.events import DesyncFound, EpisodeEnded, PeerEvent
from rollgym.protocol.messages import ErrorReply, MatchOver, PeerLeft, Verdict, Waiting


@dataclass(frozen=True)
class Joined:
    """The server has taken us, as ``participant``, and looks for a partner."""

    url: str
    participant: str


@dataclass(frozen=True)
class Paired:
    """A match begins. The same as the server's ``match_start`` without the ticket."""

    match: str
    player: int
    participants: tuple[str, ...]
    seed: int
    episodes: int


@dataclass(frozen=True)
class ControlLost:
    """The connection to the server is lost for good.

    One that only broke comes back: ``rollgym.client_sim.client.reconnecting_control``.

    A running match is played to its end, verdicts will not be heard.
    """

    reason: str


@dataclass(frozen=True)
class Progress:
    """How far the match is: :meth:`~rollgym.client_sim.client.match.ServedMatch.stats`, now and then."""

    stats: dict[str, Any]


ClientEvent = (
    Joined
    | Waiting
    | Paired
    | Progress
    | PeerEvent
    | PeerLeft
    | MatchOver
    | Verdict
    | Stored
    | Refused
    | ControlLost
    | ErrorReply
)
"""What :func:`rollgym.client_sim.client.client.play` reports while it goes on."""


@dataclass
class PlayResult:
    """How it went."""

    participant: str = ""
    match: str | None = None
    """None: stopped before a match was found."""
    player: int | None = None
    wanted: int = 0
    """Episodes that the match was to have."""
    episodes: list[EpisodeEnded] = field(default_factory=list)
    desyncs: list[DesyncFound] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    """Episodes that the server has acknowledged."""
    refused: list[Refused] = field(default_factory=list)
    pending: int = 0
    """Exports that stay in the spool for the next start."""
    kept: list[Path] = field(default_factory=list)
    reason: str = ""
    """Why the match ended, in one word (see ``rollgym.protocol.packets.BYE_REASONS``)."""
    failure: str | None = None
    """What the game or the bot raised, or how their process ended, if that ended the match."""
    lost: str | None = None
    """Why the relay was lost for good, if that ended the match."""
    server_lost: str | None = None
    """Why the connection to the server was lost for good, if it was."""
    stopped: bool = False
    """Somebody asked this client to stop."""
    resumes: int = 0
    """How often the connection to the server broke and the seat was taken again."""
    stats: dict[str, Any] = field(default_factory=dict)
    """Of the peer, the transport and the driver."""
