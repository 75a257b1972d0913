"""What a player's export of an episode comes to, in a few numbers: for whoever looks at all episodes at once.

Computed from what was recorded frame by frame. Only the stalls are what the peer says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rollgym.protocol.episode.export import Canonical, Header, Own
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.files.columns import stored_array
from rollgym.protocol.files.layout import (
    BAD_FILE,
    CanonicalLayout,
    EpisodeFileError,
    Layout,
    OwnLayout,
    read_arrow,
    read_layout,
    short,
)
from rollgym.protocol.files.parquet import ROLLBACKS

OWN_COLUMNS = ("mispredicted", "rtt", "was_speculative")
"""Columns of a player's own part that are counted here."""


class OwnFacts(Protocol):
    """What an own part has besides its columns: in an export, and in the metadata of a file."""

    @property
    def player(self) -> int: ...
    @property
    def policy(self) -> dict[str, Any]: ...
    @property
    def stats(self) -> dict[str, Any]: ...
    @property
    def started_at(self) -> float: ...
    @property
    def ended_at(self) -> float: ...


def episode_player(header: Header, canonical: Canonical, own: Own) -> EpisodePlayerRow:
    """``header`` and ``canonical`` are the facts that the verdict is about."""
    columns = {name: own.columns[name].array() for name in OWN_COLUMNS}
    rewards = canonical.columns["rewards"].array()
    return summed_up(header, rewards, own, columns, len(own.rollbacks))


class FilePart(NamedTuple):
    """A file of an episode, and its metadata."""

    path: Path
    layout: Layout

    @classmethod
    def at(cls, path: Path) -> FilePart:
        """Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
        return cls(path, read_layout(path))


def stored_episode_player(facts: FilePart, own: FilePart) -> EpisodePlayerRow:
    """The same from files, of which only the columns that are needed are read.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    (rewards,), _ = _columns(facts, facts.layout.canonical, ["rewards"])
    values, rollbacks = _columns(own, own.layout.own, OWN_COLUMNS, ROLLBACKS)
    assert own.layout.own is not None
    columns = dict(zip(OWN_COLUMNS, values, strict=True))
    return summed_up(own.layout.header, rewards, own.layout.own, columns, rollbacks)


def _columns(
    part: FilePart, layout: CanonicalLayout | OwnLayout | None, names: Sequence[str], listed: str | None = None
) -> tuple[list[NDArray[Any]], int]:
    """Columns as arrays, and how many items there are in the list in row 0 of another one."""
    try:
        if layout is None:
            raise ValueError("has not the part that the episode's other files lack")
        places = [layout.columns[name] for name in names]
        wanted = [place.column for place in places if place.stored != "null"]
        table = read_arrow(part.path, [*wanted, listed] if listed else wanted)
        items = 0 if listed is None else len(table.column(listed).chunk(0).slice(0, 1).flatten())
        return [stored_array(table, place) for place in places], items
    except BAD_FILE as error:
        raise EpisodeFileError(part.path, f"not a readable episode: {short(error)}") from error


def summed_up(
    header: Header, rewards: NDArray[Any], own: OwnFacts, columns: Mapping[str, NDArray[Any]], rollbacks: int
) -> EpisodePlayerRow:
    """The same from arrays: rewards ``(T, agents)``, and :data:`OWN_COLUMNS` with a row per frame of the player's."""
    agent = header.game.agents.index(header.game.players[own.player])
    with np.errstate(all="ignore"):  # rewards may be anything
        reward = float(rewards[:, agent].sum())
    times = columns["rtt"][~np.isnan(columns["rtt"])]
    stalls = own.stats.get("stalls")
    return EpisodePlayerRow(
        player=own.player,
        policy=str(own.policy.get("name", ""))[:128],
        began=_number(own.started_at),
        ended=_number(own.ended_at),
        reward=_number(reward),
        rollbacks=rollbacks,
        mispredicted=int(np.count_nonzero(columns["mispredicted"])),
        speculative=int(np.count_nonzero(columns["was_speculative"])),
        stalls=stalls if type(stalls) is int and 0 <= stalls < 1 << 63 else None,
        rtt=_number(_median(times)),
    )


def _median(values: NDArray[Any]) -> float:
    with np.errstate(all="ignore"):
        return float(np.median(values)) if values.size else math.nan


def _number(value: float) -> float | None:
    """SQLite has no not-a-number."""
    return None if math.isnan(value) else value
