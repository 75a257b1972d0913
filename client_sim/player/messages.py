"""What a client and its player process say to each other, over the channel of :mod:`rollgym.processes`.

Packets of the match are by far the most, and go as they are behind one byte that says so. Everything else is a
:class:`msgspec.Struct`, tagged with its name.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from rollgym.client_sim.exports.spool import Parcel, Spooled
from rollgym.client_sim.peer.events import DesyncFound, EpisodeEnded, EpisodeStarted, MatchEnded, PeerEvent, PlayerGone
from rollgym.protocol.messages import GameIdentity, MatchStart, PlaySettings

KEEP_ALIVE = 0.25
"""Seconds between two signs of life, of the client to its player process and for it to its partners."""


def keep_alive(settings: PlaySettings) -> float:
    """The same, in a match that allows little silence."""
    return min(KEEP_ALIVE, settings.disconnect_timeout / 4)


_PACKET, _MESSAGE, _JSON = 0x70, 0x6D, 0x6A  # p, m, j
_ARRIVED = struct.Struct("<BdB")


# -- to the player process ---------------------------------------------------------------------------------------


class Arrived(NamedTuple):
    """A packet of another player."""

    source: int
    data: bytes
    at: float
    """When it arrived where the network is, in seconds of the monotonic clock, which all processes share."""


class Prepare(Struct, tag=True, frozen=True):
    """The first message: make this game, for a bot of this policy."""

    game: str
    parameters: dict[str, Any]
    policy: str
    policy_parameters: dict[str, Any]
    policy_seed: int
    prediction: str
    """The rule for inputs that have not arrived, as ``rollgym.client_sim.peer.prediction_rules.find_rule`` takes it."""
    network: dict[str, Any]
    """What the client's transport does to packets, for the record."""
    spool: str
    """Absolute, as ``keep``: the game may change the current folder."""
    keep: str | None
    keep_said: dict[str, str]


class Begin(Struct, tag=True, frozen=True):
    """Play this match."""

    start: MatchStart
    url: str
    """Of the server, for the exports' upload."""
    progress_every: float | None


class Left(Struct, tag=True, frozen=True):
    """The server says that a player is gone."""

    player: int


class Stop(Struct, tag=True, frozen=True):
    """Stop playing."""


class Alive(Struct, tag=True, frozen=True):
    """The network is served. Said every :func:`keep_alive` seconds."""


InMatch = Arrived | Left | Stop | Alive
"""What comes while a match is played."""

ToPlayer = Prepare | Begin | InMatch


# -- to the client -----------------------------------------------------------------------------------------------


class Outgoing(NamedTuple):
    """A packet for another player."""

    destination: int
    data: bytes


class Failure(Struct, tag=True, frozen=True):
    """What the game or the policy raised. The traceback is among what the process printed."""

    error: str
    """Its type and text, as the last line of a traceback has it."""
    where: str
    """``file:line`` of the innermost line that is not ours; empty if there is none."""
    interrupted: bool = False
    """It raised nothing: it was at work when the match had to end, and was interrupted."""

    def __str__(self) -> str:
        return f"{self.error} ({self.where})" if self.where else self.error


class Ready(Struct, tag=True, frozen=True):
    """The game is made."""

    game: GameIdentity


class Happened(Struct, tag=True, frozen=True):
    """An event of the peer's."""

    kind: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, event: PeerEvent) -> Happened:
        """A peer's event as a message."""
        return cls(type(event).__name__, dataclasses.asdict(event))

    def event(self) -> PeerEvent:
        """The peer's event that it was."""
        event: PeerEvent = _EVENTS[self.kind](**self.fields)
        return event


class Exported(Struct, tag=True, frozen=True):
    """An export is on the disk, in the file ``path``; or in ``body``, if the disk did not take it."""

    parcel: Parcel
    path: str | None
    body: bytes | None

    @classmethod
    def of(cls, spooled: Spooled) -> Exported:
        """A spooled export as a message."""
        return cls(spooled.parcel, None if spooled.path is None else str(spooled.path), spooled.body)

    def spooled(self) -> Spooled:
        """The spooled export that it was."""
        return Spooled(self.parcel, None if self.path is None else Path(self.path), self.body)


class Kept(Struct, tag=True, frozen=True):
    """A copy of an export was written."""

    path: str


class NotKept(Struct, tag=True, frozen=True):
    """A copy of an export could not be written."""

    reason: str


class Stats(Struct, tag=True, frozen=True):
    """How far the match is: :meth:`rollgym.client_sim.player.driver.Driver.stats`."""

    stats: dict[str, Any]


class Ended(Struct, tag=True, frozen=True):
    """The match is over here. The process waits for the next one."""

    stats: dict[str, Any]
    failure: Failure | None


ToClient = Outgoing | Failure | Ready | Happened | Exported | Kept | NotKept | Stats | Ended

_EVENTS: dict[str, Any] = {
    kind.__name__: kind for kind in (EpisodeStarted, EpisodeEnded, DesyncFound, PlayerGone, MatchEnded)
}

_encode = msgspec.msgpack.Encoder().encode
_to_player: Callable[[memoryview], ToPlayer] = msgspec.msgpack.Decoder(Begin | Left | Stop | Alive).decode
_to_client: Callable[[memoryview], ToClient] = msgspec.msgpack.Decoder(
    Failure | Ready | Happened | Exported | Kept | NotKept | Stats | Ended
).decode


def pack(message: ToPlayer | ToClient) -> bytes:
    """A message as bytes."""
    if type(message) is Arrived:
        return _ARRIVED.pack(_PACKET, message.at, message.source) + message.data
    if type(message) is Outgoing:
        return bytes((_PACKET, message.destination)) + message.data
    if type(message) is Prepare:  # msgpack has no room for whole numbers of any size, which a parameter may be
        return bytes((_JSON,)) + json.dumps(msgspec.to_builtins(message)).encode()
    return bytes((_MESSAGE,)) + _encode(message)


def parse_to_player(message: bytes) -> ToPlayer:
    """A message that the player process received. Raises ``msgspec.MsgspecError`` for what is none."""
    if message[0] == _PACKET:
        _, at, source = _ARRIVED.unpack_from(message)
        return Arrived(source, message[_ARRIVED.size :], at)
    if message[0] == _JSON:
        return msgspec.convert(json.loads(message[1:]), Prepare)
    return _to_player(memoryview(message)[1:])


def parse_to_client(message: bytes) -> ToClient:
    """A message that the client received. Raises ``msgspec.MsgspecError`` for what is none."""
    if message[0] == _PACKET:
        return Outgoing(message[1], message[2:])
    return _to_client(memoryview(message)[1:])
