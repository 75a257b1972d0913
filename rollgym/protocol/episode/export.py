"""The episode export: what a peer uploads when an episode is over.

Three parts. ``header`` and ``canonical`` are facts and equal on all peers, bit for bit. ``own`` is one peer's
view of how the facts came about, and rightly differs. Frames are rows: ``T`` frames have rows ``0 .. T-1``;
observations and infos have ``T + 1`` rows, row 0 from ``reset`` and row ``f + 1`` from the step of frame ``f``.

On the wire the export is MessagePack (:mod:`rollgym.protocol.episode.export_body`); in files it is Parquet
(``rollgym.protocol.files.parquet``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.values import pack_value
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
