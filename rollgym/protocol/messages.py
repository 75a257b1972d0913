"""Control messages between a client and the server, over Socket.IO with msgpack.

The Socket.IO event name says the type; the event's single argument is the message as a map with string keys.
Every client message is answered through the event's acknowledgement: ``{"ok": true, ...}`` or
``{"ok": false, "error": {...}}`` with an :class:`ErrorReply`. ``docs/protocol.md`` has the tables.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

NAMESPACE = "/"

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
SignalData = Annotated[str, Meta(max_length=16_384)]


Address = Annotated[str, Meta(min_length=1, max_length=1024)]
"""A URL reference (RFC 3986): :func:`rollgym.protocol.addresses.resolved` says against what."""


class GameIdentity(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What peers and server must have in common. Spaces are described as JSON (``rollgym.games.spaces.described``)."""

    id: Name
    version: Name
    parameters: dict[str, Any]
    agents: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=16)]
    action_spaces: Annotated[tuple[dict[str, Any], ...], Meta(max_length=16)]
    observation_spaces: Annotated[tuple[dict[str, Any], ...], Meta(max_length=16)]
    npcs: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    """The agents that no player drives: a policy inside the simulation does, at every peer alike."""

    @property
    def players(self) -> tuple[Name, ...]:
        """The agents that players drive, in player order."""
        return tuple(agent for agent in self.agents if agent not in self.npcs)


class PlaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a match is played. The server decides; both peers and the audit use the same values."""

    episodes: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    fps: Annotated[float, Meta(gt=0, le=1000)] = 60.0
    """Frames per second."""
    frame_limit: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    """Truncate every episode at this many frames; None leaves the end to the game."""
    input_delay: Annotated[int, Meta(ge=0, le=120)] = 2
    """Frames between deciding an input and the frame it is for."""
    max_prediction: Annotated[int, Meta(ge=0, le=3600)] = 8
    """Frames a peer may simulate with predicted inputs; 0 is lockstep."""
    save_every: Annotated[int, Meta(ge=1, le=256)] = 1
    """A snapshot at every k-th frame."""
    checksum_interval: Annotated[int, Meta(ge=1, le=3600)] = 10
    """Frames between the states whose checksums peers exchange while they play."""
    disconnect_timeout: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Seconds without any packet after which a peer holds another for gone."""
    start_timeout: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds a peer waits for its partner's first packet; and for a partner who is connected but does not play on,
    because its game is at work: compiling, loading, generating a level."""
    away: Literal["stall", "play_on"] = "stall"
    """What a peer does while another is away (paused, not scheduled): wait at the prediction window, or play on for up
    to ``away_limit``. In the second case whoever comes back catches up with idle inputs, which are recorded as such."""
    away_limit: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Seconds a peer plays on without another's inputs; after that the other counts as gone."""
    on_disconnect: Literal["end", "continue"] = "end"
    """When a player is gone: end at the last frame that all survivors have its input for, or go on with its default
    input."""
    on_desync: Literal["stop", "continue"] = "stop"
    """What a peer does when states differ: end the match, or go on and mark the episode."""

    def __post_init__(self) -> None:
        if self.checksum_interval % self.save_every:
            raise ValueError(
                f"checksum_interval {self.checksum_interval}: expected a multiple of save_every ({self.save_every}), "
                "because only states that are saved have a checksum"
            )

    @property
    def silence(self) -> float:
        """Seconds that a player may be silent before it counts as gone. A seat is held for as long."""
        return max(self.disconnect_timeout, self.away_limit) if self.away == "play_on" else self.disconnect_timeout


class Join(Struct, frozen=True, forbid_unknown_fields=True):
    """``join``: a client asks to be paired. Acknowledged with ``{"ok": true, "participant": ...}``."""

    protocol: int
    game: GameIdentity
    participant: Name | None = None
    """The client's own name for itself; the server makes one up if there is none. A label, never an identity."""
    software: Annotated[dict[Name, Text], Meta(max_length=32)] = {}


class Resume(Struct, frozen=True, forbid_unknown_fields=True):
    """``resume``: a client whose control connection broke takes its seat in a match again, on a new connection.

    Acknowledged with ``{"ok": true}``; what the server had to say meanwhile is said now. The client makes up the next
    token itself: if the acknowledgement is lost, it knows that one of two tokens is good, and nobody else knows any.
    """

    protocol: int
    match: Name
    token: Name
    """``match_start.resume``, or ``new_token`` of the last resume."""
    new_token: Annotated[str, Meta(min_length=22, max_length=128)]
    """Secret and random. Takes the place of ``token``, which is worth nothing from now on."""
    heard: Annotated[int, Meta(ge=0)]
    """How many ``peer_left``, ``verdict`` and ``match_over`` of this match the client has received so far."""


class Leave(Struct, frozen=True, forbid_unknown_fields=True):
    """``leave``: the client stops waiting, or leaves its match."""

    reason: Text = ""


class Finished(Struct, frozen=True, forbid_unknown_fields=True):
    """``finished``: the client has played and uploaded everything it will."""

    episodes: Annotated[int, Meta(ge=0)]


class TransportOffer(Struct, frozen=True, forbid_unknown_fields=True):
    """A way for the players of a match to exchange packets."""

    kind: Name
    """:data:`rollgym.protocol.relay.RELAY`: the relay of a server. Others may come."""
    address: Address


ONLY_RELAY = (TransportOffer("relay", "relay"),)
"""What a server offers that has its own relay and nothing else."""


class MatchStart(Struct, frozen=True, forbid_unknown_fields=True):
    """``match_start`` from the server: you are paired."""

    match: Name
    player: Annotated[int, Meta(ge=0, le=15)]
    """Your index; agent ``game.players[player]`` is yours."""
    participants: tuple[Name, ...]
    """Every player's label, in player order."""
    seed: Annotated[int, Meta(ge=0)]
    """The match seed; ``rollgym.protocol.seeds`` derives each episode's."""
    settings: PlaySettings
    ticket: Name
    """Secret. Opens the relay and authorises uploads: ``Authorization: Bearer <ticket>``."""
    transports: Annotated[tuple[TransportOffer, ...], Meta(min_length=1, max_length=8)]
    """Ways to exchange packets, best first: a client takes the first that it knows."""
    upload: Address
    """Where uploads go; ``{episode}`` stands for the episode number."""
    resume: Annotated[str, Meta(max_length=128)] = ""
    """Secret. Takes the seat again after the control connection broke (:class:`Resume`). Empty: that cannot be."""


class Signal(Struct, frozen=True, forbid_unknown_fields=True):
    """``signal``: what two players have to tell each other before a transport of their own can be opened.

    The server hands it on as ``peer_signal``. A player who is not connected at the moment does not get it.
    """

    match: Name
    player: Annotated[int, Meta(ge=0, le=15)]
    """For whom it is."""
    data: SignalData


class PeerSignal(Struct, frozen=True, forbid_unknown_fields=True):
    """``peer_signal`` from the server: another player's ``signal``."""

    match: Name
    player: Annotated[int, Meta(ge=0, le=15)]
    """Whose it is."""
    data: SignalData


class PeerLeft(Struct, frozen=True, forbid_unknown_fields=True):
    """``peer_left`` from the server: another player left, or its connection ended and it did not come back."""

    match: Name
    player: int
    reason: Text = ""


class Verdict(Struct, frozen=True, forbid_unknown_fields=True):
    """``verdict`` from the server: what became of an episode."""

    match: Name
    episode: int
    verdict: Literal["verified", "diverged", "single", "partial"]
    detail: Text = ""


COMPLETE = "complete"
"""Reason of :class:`MatchOver`: every episode has its verdict."""

ANNULLED = "annulled"
"""Reason of :class:`MatchOver`: the match was undone before play began, and its players wait for another one."""


class MatchOver(Struct, frozen=True, forbid_unknown_fields=True):
    """``match_over`` from the server: all verdicts are in, or the match was given up."""

    match: Name
    reason: Text = ""


class Waiting(Struct, frozen=True, forbid_unknown_fields=True):
    """``waiting`` from the server to everybody who waits: how many there are, and how many a match needs."""

    waiting: Annotated[int, Meta(ge=0)]
    needed: Annotated[int, Meta(ge=1)]


class ErrorReply(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why something was refused. Also the JSON body of a refused HTTP request."""

    code: Name
    message: Text
    field: Text = ""
    expected: Any = None
    actual: Any = None


BAD_RESUME = "bad_resume"
"""Code of :class:`ErrorReply`: no seat is held for the token of a :class:`Resume`."""

CLIENT_EVENTS: dict[str, type[Struct]] = {
    "join": Join,
    "resume": Resume,
    "leave": Leave,
    "finished": Finished,
    "signal": Signal,
}
SERVER_EVENTS: dict[str, type[Struct]] = {
    "match_start": MatchStart,
    "peer_left": PeerLeft,
    "verdict": Verdict,
    "match_over": MatchOver,
    "peer_signal": PeerSignal,
    "waiting": Waiting,
    "error": ErrorReply,
}

M = TypeVar("M", bound=Struct)


class MessageError(ValueError):
    """A message that is not of its type. The text names the field and what was expected."""


def parse(kind: type[M], payload: object) -> M:
    """A validated message of type ``kind`` from what Socket.IO delivered."""
    try:
        return msgspec.convert(payload, kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MessageError(str(error)) from error


def dump(message: Struct) -> dict[str, Any]:
    """A message as plain maps and lists, ready for Socket.IO."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return plain


class Difference(Struct, frozen=True):
    """Where two structures first differ: a path such as ``parameters.points`` and both values."""

    field: str
    first: Any
    second: Any


def first_difference(first: Any, second: Any, path: str = "") -> Difference | None:
    """The first place, in the first one's order, where two plain structures or messages differ.

    Types count: 5 and 5.0 differ, as they do in a digest. Lists and tuples are the same.
    """
    if isinstance(first, Struct):
        first = dump(first)
    if isinstance(second, Struct):
        second = dump(second)
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(k for k in second if k not in first)]:
            here = f"{path}.{key}" if path else str(key)
            if key not in first or key not in second:
                return Difference(here, first.get(key, "(missing)"), second.get(key, "(missing)"))
            found = first_difference(first[key], second[key], here)
            if found is not None:
                return found
        return None
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        for index in range(max(len(first), len(second))):
            here = f"{path}[{index}]"
            if index >= len(first) or index >= len(second):
                both = [list(x)[index] if index < len(x) else "(missing)" for x in (first, second)]
                return Difference(here, both[0], both[1])
            found = first_difference(first[index], second[index], here)
            if found is not None:
                return found
        return None
    if first == second and type(first) is type(second):  # True == 1 == 1.0, but their bytes are not the same
        return None
    return Difference(path, first, second)
