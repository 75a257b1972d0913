"""Packets between peers: small, binary, self-contained, safe to lose, repeat and reorder.

Every packet carries the episode it belongs to, so that a late one cannot touch the next episode. Who sent it
is not in the packet: the transport says so, from the connection's ticket. All integers are little-endian.
See ``docs/protocol.md`` for the byte tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from rollgym.protocol.version import PACKET_VERSION

MAX_PACKET = 1200
"""Bytes. Fits one datagram on any path (IPv6 minimum 1280 less headers)."""

MAX_PLAYERS = 16

NO_ECHO = 0xFFFF
"""``echo_age`` of a packet that echoes nothing."""

ADVANTAGE_UNIT = 16
"""``advantage`` counts sixteenths of a frame."""

_MAGIC = 0xB7
_HEAD = Struct("<BBBI")  # magic, version, type, episode
_HELLO, _INPUT, _END, _END_ACK, _BYE, _FORWARD = 1, 2, 3, 4, 5, 6


class PacketError(ValueError):
    """Bytes that are not a packet. ``reason`` says which check failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Hello(NamedTuple):
    """I am here and ready for this episode. ``heard``: your hello has reached me."""

    episode: int
    heard: bool


class Input(NamedTuple):
    """All inputs the receiver has not acknowledged, and what the sender knows.

    ``inputs`` holds frames ``start, start+1, ...``; each entry joins the inputs of the sender's local players in
    player order. ``known[p]`` is the last frame up to which the sender has every input of player ``p``
    (-1: none), ``gone[p]`` whether it holds that player for disconnected; so ``known`` acknowledges.
    ``advantage`` is the smoothed lead of the sender's present frame over the newest one it has heard of, measured as
    packets arrive, in sixteenths of a frame. Times are in tenths of a millisecond of the sender's own clock, modulo
    2**32.

    ``idle`` is empty, or a bitmap of ``inputs``, lowest bit of the first byte first: a set bit says that its owner was
    away and the input was filled in.
    """

    episode: int
    start: int
    inputs: tuple[bytes, ...]
    current: int
    advantage: int
    known: tuple[int, ...]
    gone: tuple[bool, ...]
    sent: int
    echo: int
    echo_age: int
    checksum_frame: int
    checksum: int
    sequence: int
    loss: int
    idle: bytes = b""


class Forward(NamedTuple):
    """Inputs of player ``player``, who is gone, for a survivor who lacks them. ``inputs`` is never empty.

    ``idle`` as in :class:`Input`: an input that was filled in must stay known as such.
    """

    episode: int
    player: int
    start: int
    inputs: tuple[bytes, ...]
    idle: bytes = b""


class End(NamedTuple):
    """The sender's canonical buffer holds this episode's terminal frame ``frames - 1``."""

    episode: int
    frames: int
    digest: bytes


class EndAck(NamedTuple):
    """The receiver's :class:`End` for this episode has arrived."""

    episode: int
    frames: int


class Bye(NamedTuple):
    """The sender leaves the match. ``reason`` is one of :data:`BYE_REASONS`."""

    episode: int
    reason: int


BYE_REASONS = ("finished", "left", "desync", "timeout", "error", "dropped")
"""``dropped``: others held the sender for gone and play on; its record ends where theirs goes on without it."""

Packet = Hello | Input | Forward | End | EndAck | Bye

_INPUT_BODY = "IHHihIIHiQHBBB"
# start, count, width, current, advantage, sent, echo, echo_age, checksum_frame, checksum, sequence, loss, idle, players
_STATUS = "iB"  # known, gone
# Everything before the idle bitmap, by number of players: packing it at once costs half of packing it in parts.
_INPUTS = [Struct(_HEAD.format + _INPUT_BODY + _STATUS * n) for n in range(MAX_PLAYERS + 1)]
_FORWARD_BODY = Struct("<BIHHB")  # player, start, count, width, idle
_END_BODY = Struct("<I32s")
_END_ACK_BODY = Struct("<I")

INPUT_OVERHEAD = _INPUTS[0].size
"""Bytes of an :class:`Input` packet without statuses and inputs."""

_PLAYERS_AT = INPUT_OVERHEAD - 1
_INPUT_START = bytes((_MAGIC, PACKET_VERSION, _INPUT))


def inputs_that_fit(players: int, width: int) -> int:
    """How many frames of inputs of ``width`` bytes fit into one packet."""
    space = MAX_PACKET - _INPUTS[players].size
    return max(1, space * 8 // (8 * width + 1) - 1)


def widest_input(players: int) -> int:
    """Bytes of the widest input that a packet holds, in either kind of packet that carries one."""
    return MAX_PACKET - max(_INPUTS[players].size, _HEAD.size + _FORWARD_BODY.size) - 1  # the byte: its idle flag


def idle_bitmap(flags: Sequence[int]) -> bytes:
    """One bit per flag, lowest bit of the first byte first; empty if none is set."""
    bits = sum(1 << at for at, flag in enumerate(flags) if flag)
    return bits.to_bytes((len(flags) + 7) // 8, "little") if bits else b""


def idle_flags(bitmap: bytes, count: int) -> list[int]:
    """The flags of an ``idle`` bitmap of ``count`` inputs."""
    bits = int.from_bytes(bitmap, "little")
    return [bits >> at & 1 for at in range(count)]


def encode(packet: Packet) -> bytes:
    """The bytes of a packet. Its fields must be in range: a peer only builds packets from its own state."""
    if type(packet) is Input:
        return _encode_input(packet)
    if type(packet) is End:
        return _HEAD.pack(_MAGIC, PACKET_VERSION, _END, packet.episode) + _END_BODY.pack(packet.frames, packet.digest)
    if type(packet) is EndAck:
        return _HEAD.pack(_MAGIC, PACKET_VERSION, _END_ACK, packet.episode) + _END_ACK_BODY.pack(packet.frames)
    if type(packet) is Hello:
        return _HEAD.pack(_MAGIC, PACKET_VERSION, _HELLO, packet.episode) + bytes((packet.heard,))
    if type(packet) is Forward:
        inputs = packet.inputs
        head = _FORWARD_BODY.pack(packet.player, packet.start, len(inputs), len(inputs[0]), bool(packet.idle))
        return b"".join((_HEAD.pack(_MAGIC, PACKET_VERSION, _FORWARD, packet.episode), head, packet.idle, *inputs))
    assert type(packet) is Bye
    return _HEAD.pack(_MAGIC, PACKET_VERSION, _BYE, packet.episode) + bytes((packet.reason,))


def _encode_input(packet: Input) -> bytes:
    inputs, known = packet.inputs, packet.known
    players = len(known)
    status: list[int] = [0] * (2 * players)
    status[0::2] = known
    status[1::2] = packet.gone
    head = _INPUTS[players].pack(
        _MAGIC,
        PACKET_VERSION,
        _INPUT,
        packet.episode,
        packet.start,
        len(inputs),
        len(inputs[0]) if inputs else 0,
        packet.current,
        packet.advantage,
        packet.sent,
        packet.echo,
        packet.echo_age,
        packet.checksum_frame,
        packet.checksum,
        packet.sequence,
        packet.loss,
        1 if packet.idle else 0,
        players,
        *status,
    )
    return b"".join((head, packet.idle, *inputs))


def decode(data: bytes) -> Packet:
    """The packet in ``data``. Raises :class:`PacketError`, and nothing else, whatever the bytes."""
    size = len(data)
    if size > MAX_PACKET:
        raise PacketError(f"packet of {size} bytes: at most {MAX_PACKET}")
    if data[:3] == _INPUT_START:
        return _decode_input(data)  # nearly every packet is one
    if size < _HEAD.size:
        raise PacketError(f"packet of {size} bytes: at least {_HEAD.size}")
    magic, version, kind, episode = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise PacketError(f"first byte {magic:#x}: expected {_MAGIC:#x}")
    if version != PACKET_VERSION:
        raise PacketError(f"packet version {version}: expected {PACKET_VERSION}")
    body = size - _HEAD.size
    if kind == _END:
        _expect(body, _END_BODY.size, "end")
        frames, digest = _END_BODY.unpack_from(data, _HEAD.size)
        return End(episode, frames, digest)
    if kind == _END_ACK:
        _expect(body, _END_ACK_BODY.size, "end ack")
        return EndAck(episode, _END_ACK_BODY.unpack_from(data, _HEAD.size)[0])
    if kind == _HELLO:
        _expect(body, 1, "hello")
        if data[-1] > 1:
            raise PacketError(f"hello flag {data[-1]}: expected 0 or 1")
        return Hello(episode, bool(data[-1]))
    if kind == _BYE:
        _expect(body, 1, "bye")
        if data[-1] >= len(BYE_REASONS):
            raise PacketError(f"bye reason {data[-1]}: expected 0..{len(BYE_REASONS) - 1}")
        return Bye(episode, data[-1])
    if kind == _FORWARD:
        return _decode_forward(data, episode)
    raise PacketError(f"packet type {kind}: expected 1..6")


class Reached(NamedTuple):
    """How far a peer is."""

    episode: int
    frame: int


_CURRENT = Struct("<BBBI8xi")  # magic, version, type, episode, (start, count, width), current
_FRAMES = Struct("<BBBII")  # magic, version, type, episode, frames


def reached(data: bytes, offset: int = 0) -> Reached | None:
    """How far the sender of an :class:`Input` or :class:`End` is, at a glance; None for any other packet or none.

    For who passes packets on and does not decode them. ``offset``: where in ``data`` the packet begins.
    """
    kind = data[offset + 2] if len(data) > offset + 2 else 0
    layout = _CURRENT if kind == _INPUT else _FRAMES if kind == _END else None
    if layout is None or len(data) < offset + layout.size:
        return None
    magic, version, _, episode, frame = layout.unpack_from(data, offset)
    return Reached(episode, frame) if magic == _MAGIC and version == PACKET_VERSION else None


def _expect(size: int, wanted: int, name: str) -> None:
    if size != wanted:
        raise PacketError(f"{name} body of {size} bytes: expected {wanted}")


def _check_bitmap(last: int, count: int) -> None:
    if count % 8 and last >> count % 8:
        raise PacketError(f"last byte {last:#x} of the idle bitmap: expected 0 in the bits beyond {count} inputs")


def _decode_forward(data: bytes, episode: int) -> Forward:
    bitmap_at = _HEAD.size + _FORWARD_BODY.size
    if len(data) < bitmap_at:
        raise PacketError(f"forward packet of {len(data)} bytes: at least {bitmap_at}")
    player, start, count, width, idle = _FORWARD_BODY.unpack_from(data, _HEAD.size)
    if player >= MAX_PLAYERS or not count or not width:
        raise PacketError(f"forward of {count} inputs of {width} bytes of player {player}")
    if idle > 1:
        raise PacketError(f"idle flag {idle}: expected 0 or 1")
    at = bitmap_at + (count + 7) // 8 * idle
    _expect(len(data), at + count * width, "forward")
    if idle:
        _check_bitmap(data[at - 1], count)
    inputs = tuple([data[i : i + width] for i in range(at, len(data), width)])
    return Forward(episode, player, start, inputs, data[bitmap_at:at])


def _decode_input(data: bytes) -> Input:
    size = len(data)
    if size < INPUT_OVERHEAD:
        raise PacketError(f"input packet of {size} bytes: at least {INPUT_OVERHEAD}")
    players = data[_PLAYERS_AT]
    if players > MAX_PLAYERS:
        raise PacketError(f"{players} players: at most {MAX_PLAYERS}")
    layout = _INPUTS[players]
    bitmap_at = layout.size
    if size < bitmap_at:
        raise PacketError(f"input packet of {size} bytes: at least {bitmap_at} with {players} players")
    fields = layout.unpack_from(data)
    _, _, _, episode, start, count, width, current, advantage, sent, echo, echo_age = fields[:12]
    checksum_frame, checksum, sequence, loss, idle, _ = fields[12:18]
    known, gone = fields[18::2], fields[19::2]
    if (width == 0) != (count == 0):
        raise PacketError(f"{count} inputs of {width} bytes")
    if idle > 1:
        raise PacketError(f"idle flag {idle}: expected 0 or 1")
    at = bitmap_at + (count + 7) // 8 if idle else bitmap_at
    if size != at + count * width:
        raise PacketError(f"input packet of {size} bytes: expected {at + count * width}")
    if idle and count:
        _check_bitmap(data[at - 1], count)
    if current < 0 or checksum_frame < -1:
        raise PacketError(f"current frame {current}, checksum frame {checksum_frame}: out of range")
    if players and (min(known) < -1 or max(gone) > 1):
        raise PacketError(f"player status {known}, {gone}: out of range")
    return Input(
        episode,
        start,
        tuple([data[i : i + width] for i in range(at, size, width)]) if count else (),
        current,
        advantage,
        known,
        tuple([flag == 1 for flag in gone]),
        sent,
        echo,
        echo_age,
        checksum_frame,
        checksum,
        sequence,
        loss,
        data[bitmap_at:at],
    )
