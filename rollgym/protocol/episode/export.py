"""The episode export: what a peer uploads when an episode is over.

Three parts. ``header`` and ``canonical`` are facts and equal on all peers, bit for bit. ``own`` is one peer's
view of how the facts came about, and rightly differs. Frames are rows: ``T`` frames have rows ``0 .. T-1``;
observations and infos have ``T + 1`` rows, row 0 from ``reset`` and row ``f + 1`` from the step of frame ``f``.

On the wire the export is MessagePack; in files it is Parquet (``rollgym.protocol.files.parquet``).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from blake3 import blake3
from msgspec import Meta, Struct
from numpy.typing import NDArray

from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.bounds import MAX_INFO_STRUCTURE_BYTES, BoundsError, bounded_value, check_bounds
from rollgym.protocol.episode.values import ValueFormatError, pack_value, unpack_value
from rollgym.protocol.messages import GameIdentity, Name, PlaySettings
from rollgym.protocol.version import EPISODE_SCHEMA

Status = Literal["complete", "partner_left", "partner_silent", "desync", "aborted", "error"]
"""Why an episode ended. ``complete``: the terminal frame is canonical. Otherwise the canonical part is a prefix:
the partner said goodbye, the partner fell silent, states differed, this peer was stopped, or its game or policy
raised."""

INPUT_REAL = 0
INPUT_IDLE = 1
INPUT_NPC = 2
INPUT_GONE = 3
"""``input_source`` values: sent by its owner, filled in while the owner was away, decided within the simulation (for an
agent in ``header.game.npcs``, at every frame), or filled in after the owner had left (to the end of the episode)."""

MAX_FRAMES = 1_000_000
MAX_COLUMN_BYTES = 1 << 30
MAX_EMPTY_ROW = 1 << 24
"""Values per row of a column that has no rows: nothing else bounds it, and a file has a place for every one of them."""
_DTYPES = frozenset(
    ["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16"],
)


class ExportError(ValueError):
    """An export that breaks the schema. ``field`` names the place."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """A dense array: ``shape[0]`` rows, little-endian, C order."""

    dtype: Annotated[str, Meta(max_length=8)]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1, max_length=8)]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Column:
        """A column with a copy of ``array`` (at least one axis)."""
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        return cls(plain.dtype.str, plain.shape, plain.tobytes())

    def array(self) -> NDArray[Any]:
        """The values, read-only. Raises :class:`ExportError` if dtype, shape and size do not agree."""
        if self.dtype not in _DTYPES:
            raise ExportError("dtype", f"{self.dtype!r} is not a plain number type")
        dtype = np.dtype(self.dtype)
        size = math.prod(self.shape) * dtype.itemsize
        if size > MAX_COLUMN_BYTES or size != len(self.data):
            raise ExportError("data", f"{len(self.data)} bytes for shape {self.shape} of {self.dtype}")
        if not self.shape[0] and math.prod(self.shape[1:]) > MAX_EMPTY_ROW:
            raise ExportError("shape", f"{self.shape}: expected at most {MAX_EMPTY_ROW} values in a row")
        try:
            return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)
        except (ValueError, OverflowError) as error:  # no values, but sides beyond what any array can have
            raise ExportError("shape", f"{self.shape}: {error}") from error


class Info(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One key of one agent's info at one row (0: ``reset``; ``f + 1``: frame ``f``)."""

    row: Annotated[int, Meta(ge=0)]
    agent: Annotated[int, Meta(ge=0, le=15)]
    key: Annotated[str, Meta(max_length=256)]
    value: bytes
    """:func:`rollgym.protocol.episode.values.pack_value` bytes."""


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """What the episode is. Equal on all peers."""

    match: Name
    episode: Annotated[int, Meta(ge=0, le=1_000_000)]
    match_seed: Annotated[int, Meta(ge=0)]
    seed: Annotated[int, Meta(ge=0)]
    """What ``reset`` was called with."""
    game: GameIdentity
    settings: PlaySettings
    participants: tuple[Name, ...]
    frames: Annotated[int, Meta(ge=0, le=MAX_FRAMES)]
    """``T``: rows of the per-frame columns."""
    status: Status
    schema: int = EPISODE_SCHEMA


class Canonical(Struct, frozen=True, forbid_unknown_fields=True):
    """The facts. Column names are in :func:`canonical_layout`."""

    columns: Annotated[dict[str, Column], Meta(max_length=512)]
    infos: list[Info]


Whole = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""As much as a file holds."""


class RollbackEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """One rollback of this peer."""

    at_frame: Whole
    """The newest frame simulated when it happened, plus one."""
    to_frame: Whole
    """The first frame simulated again."""
    depth: Whole
    player: Whole
    """Whose input was mispredicted at ``to_frame``."""
    predicted: bytes
    actual: bytes
    time: float
    """Seconds since the episode began, on this peer's clock."""


class Tail(Struct, frozen=True, forbid_unknown_fields=True):
    """Frames this peer simulated that never became canonical. Never part of the dataset's frames."""

    start: Whole
    inputs: list[tuple[bytes, ...]]
    """Per frame the joint input it was last simulated with."""
    real: list[tuple[bool, ...]]
    """Per frame and player: was that input its owner's, or a prediction."""
    rewards: list[tuple[float, ...]]


class Own(Struct, frozen=True, forbid_unknown_fields=True):
    """One peer's part. Column names are in :data:`OWN_COLUMNS`, and ``seen*`` for what the policy saw."""

    player: Annotated[int, Meta(ge=0, le=15)]
    columns: Annotated[dict[str, Column], Meta(max_length=512)]
    rollbacks: list[RollbackEvent]
    tail: Tail | None
    stats: dict[str, Any]
    policy: dict[str, Any]
    """What drove the local player: name, parameters, seed."""
    software: dict[str, str]
    started_at: float
    """Unix seconds."""
    ended_at: float


class Export(Struct, frozen=True, forbid_unknown_fields=True):
    """A peer's export of one episode."""

    header: Header
    canonical: Canonical
    own: Own
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """:func:`content_digest` of header and canonical part."""


OWN_COLUMNS: dict[str, str] = {
    "was_speculative": "|b1",
    "mispredicted": "|b1",
    "times_simulated": "<u4",
    "rollbacks": "<u4",
    "time": "<f8",
    "rtt": "<f8",
    "frame_advantage": "<f8",
}
"""Per frame. ``was_speculative``: ever simulated with a prediction. ``mispredicted``: some prediction was wrong.
``times_simulated``: how often the frame was stepped. ``rollbacks``: rollbacks that re-simulated it. ``time``: seconds
from the start of the episode to its first simulation; ``rtt`` (seconds, NaN: unknown) and ``frame_advantage`` then."""


def canonical_layout(header: Header) -> dict[str, tuple[str | None, int, tuple[int, ...] | None]]:
    """The required canonical columns: name -> (dtype or None for any, rows, row shape or None for any).

    Observation columns come on top: ``observations/<agent>`` or ``observations/<agent>/<leaf path>``, any plain
    dtype, ``T + 1`` rows; names as in :mod:`rollgym.protocol.column_names`.
    """
    rows, agents = header.frames, len(header.game.agents)
    layout: dict[str, tuple[str | None, int, tuple[int, ...] | None]] = {
        "frame": ("<u4", rows, ()),
        "rewards": ("<f8", rows, (agents,)),
        "terminations": ("|b1", rows, (agents,)),
        "truncations": ("|b1", rows, (agents,)),
        "input_source": ("|u1", rows, (agents,)),
        "state_digest": ("<u8", rows + 1, ()),
    }
    for agent in header.game.agents:
        layout[f"actions/{agent}"] = ("|u1", rows, None)
    return layout


def content_digest(header: Header, canonical: Canonical) -> bytes:
    """BLAKE3 over everything that must be equal on all peers. 32 bytes.

    Each part goes in behind its length (8 bytes, little-endian): the header as canonical MessagePack, then per
    column in name order its name, dtype, shape (``"3,4"``) and data, then per info in order
    ``row, agent, key, value`` as one canonical MessagePack list.
    """
    hasher = blake3()

    def add(part: bytes) -> None:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)

    add(pack_value(msgspec.to_builtins(header)))
    for name in sorted(canonical.columns):
        column = canonical.columns[name]
        add(name.encode())
        add(column.dtype.encode())
        add(",".join(map(str, column.shape)).encode())
        add(column.data)
    for info in canonical.infos:
        add(pack_value([info.row, info.agent, info.key, info.value]))
    return hasher.digest()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Export)


def encode_export(export: Export) -> bytes:
    """The upload body."""
    return _encoder.encode(export)


def decode_export(body: bytes) -> Export:
    """An export from an upload body, checked by :func:`check_export`. Raises :class:`ExportError` only.

    The caller bounds ``len(body)``. Columns take as much memory as bytes; everything that takes more (infos,
    rollbacks, the tail, the parts without a schema) is counted by :mod:`rollgym.protocol.episode.bounds` before it is
    built.
    """
    try:
        check_bounds(body)
    except BoundsError as error:
        raise ExportError(error.field, str(error).removeprefix(f"{error.field}: ")) from error
    try:
        export = _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise ExportError("export", str(error)) from error
    check_export(export)
    return export


def check_export(export: Export) -> None:
    """Schema, contiguity and digest. Raises :class:`ExportError` that names the first field that is wrong."""
    header, canonical, own = export.header, export.canonical, export.own
    if header.schema != EPISODE_SCHEMA:
        raise ExportError("header.schema", f"{header.schema}: expected {EPISODE_SCHEMA}")
    players = len(header.participants)
    if not players <= len(header.game.players) or own.player >= players:
        raise ExportError("own.player", f"{own.player}: expected 0..{players - 1}")
    _check_canonical(header, canonical)
    _check_own(header, own)
    try:
        digest = content_digest(header, canonical)
    except (ValueFormatError, TypeError) as error:  # MessagePack has types that plain values have not
        raise ExportError("header", str(error)) from error
    if digest != export.digest:
        raise ExportError("digest", f"{export.digest.hex()}: the content gives {digest.hex()}")


def _check_canonical(header: Header, canonical: Canonical) -> None:
    layout = canonical_layout(header)
    for name, (dtype, rows, shape) in layout.items():
        if name not in canonical.columns:
            raise ExportError(f"canonical.columns.{name}", "missing")
        _check_column(f"canonical.columns.{name}", canonical.columns[name], dtype, rows, shape)
    observed = {joined(["observations", agent], "/") for agent in header.game.agents}
    for name, column in canonical.columns.items():
        if name in layout:
            continue
        parts = name.split("/", 2)
        if "/".join(parts[:2]) not in observed:
            raise ExportError(f"canonical.columns.{name}", "not a column of this schema")
        _check_column(f"canonical.columns.{name}", column, None, header.frames + 1, None)
    for agent in header.game.agents:
        column = canonical.columns[f"actions/{agent}"]
        if len(column.shape) != 2:
            raise ExportError(f"canonical.columns.actions/{agent}", f"shape {column.shape}: expected two axes")
    frames = canonical.columns["frame"].array()
    if not np.array_equal(frames, np.arange(header.frames, dtype=np.uint32)):
        raise ExportError("canonical.columns.frame", f"expected 0..{header.frames - 1} without gaps")
    _check_sources(header, canonical.columns["input_source"].array())
    _check_end(header, canonical)
    previous = (0, 0, "")
    for index, info in enumerate(canonical.infos):
        place = f"canonical.infos[{index}]"
        here = (info.row, info.agent, info.key)
        if info.row > header.frames or info.agent >= len(header.game.agents):
            raise ExportError(place, f"row {info.row}, agent {info.agent}: out of range")
        if index and here <= previous:
            raise ExportError(place, f"{here} after {previous}: expected ascending rows, agents and keys")
        previous = here
        if not bounded_value(info.value):
            raise ExportError(place, f"a structure of {len(info.value)} bytes: at most {MAX_INFO_STRUCTURE_BYTES}")
        try:
            unpack_value(info.value)
        except ValueFormatError as error:
            raise ExportError(place, str(error)) from error


def _check_sources(header: Header, sources: NDArray[Any]) -> None:
    for index, agent in enumerate(header.game.agents):
        allowed = (INPUT_NPC,) if agent in header.game.npcs else (INPUT_REAL, INPUT_IDLE, INPUT_GONE)
        wrong = ~np.isin(sources[:, index], allowed)
        if wrong.any():
            frame = int(wrong.argmax())
            expected = " or ".join(map(str, allowed))
            message = f"value {int(sources[frame, index])} at frame {frame} of {agent}: expected {expected}"
            raise ExportError("canonical.columns.input_source", message)


def _check_end(header: Header, canonical: Canonical) -> None:
    if header.frames == 0:
        if header.status == "complete":
            raise ExportError("header.status", "complete, but there is no frame")
        return
    over = canonical.columns["terminations"].array() | canonical.columns["truncations"].array()
    ends = np.flatnonzero(over.all(axis=1))
    if header.status == "complete" and (ends.size == 0 or int(ends[0]) != header.frames - 1):
        where = f"frame {int(ends[0])}" if ends.size else "no frame"
        raise ExportError("header.status", f"complete, but {where} ends the episode (last is {header.frames - 1})")
    if header.status != "complete" and ends.size and int(ends[0]) != header.frames - 1:
        raise ExportError("header.frames", f"{header.frames}, but frame {int(ends[0])} ends the episode")


def _check_own(header: Header, own: Own) -> None:
    for name, dtype in OWN_COLUMNS.items():
        if name not in own.columns:
            raise ExportError(f"own.columns.{name}", "missing")
        _check_column(f"own.columns.{name}", own.columns[name], dtype, header.frames, ())
    seen = own.columns.get("seen_frame")
    for name, column in own.columns.items():
        if name in OWN_COLUMNS:
            continue
        if (name != "seen_frame" and not name.startswith("seen/")) or seen is None:
            raise ExportError(f"own.columns.{name}", "not a column of this schema")
        _check_column(f"own.columns.{name}", column, "<u4" if name == "seen_frame" else None, seen.shape[0], None)
    if own.tail is not None and not len(own.tail.inputs) == len(own.tail.real) == len(own.tail.rewards):
        raise ExportError("own.tail", "inputs, real and rewards differ in length")
    for name in ("stats", "policy"):
        try:
            pack_value(getattr(own, name))
        except ValueFormatError as error:  # a key that is not text would become one on the way into a file
            raise ExportError(f"own.{name}", str(error)) from error


def _check_column(place: str, column: Column, dtype: str | None, rows: int, row_shape: tuple[int, ...] | None) -> None:
    if dtype is not None and column.dtype != dtype:
        raise ExportError(place, f"dtype {column.dtype}: expected {dtype}")
    if column.shape[0] != rows:
        raise ExportError(place, f"{column.shape[0]} rows: expected {rows}")
    if row_shape is not None and column.shape[1:] != row_shape:
        raise ExportError(place, f"row shape {column.shape[1:]}: expected {row_shape}")
    try:
        column.array()
    except ExportError as error:
        raise ExportError(f"{place}.{error.field}", str(error)) from error
