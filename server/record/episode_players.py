"""What a player's export of an episode comes to, in a few numbers: for whoever looks at all episodes at once.

Computed from what was recorded frame by frame. Only the stalls are what the peer says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rollgym.protocol.episode.export import Canonical, Header, Own
from rollgym.server.storage.rows import EpisodePlayerRow

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
