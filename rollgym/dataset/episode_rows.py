"""One table with a row for each player of each episode: what the columns are. Where it is read is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
from msgspec import Struct

from rollgym.dataset.filters import FILTERS
from rollgym.protocol.episode.player_row import EpisodePlayerRow


class TableRow(Struct, frozen=True, gc=False):
    """A player of an episode. None: it is not known, or there is no such number. Of plain values: no cycles."""

    match: str
    episode: int | None
    player: int
    agent: str
    participant: str
    game: str
    game_version: str
    input_delay: int
    experiment: str | None = None
    condition: str | None = None
    match_number: int | None = None
    verdict: str | None = None
    detail: str | None = None
    status: str | None = None
    frames: int | None = None
    seed: int | None = None
    own_status: str | None = None
    own_frames: int | None = None
    counted: EpisodePlayerRow | None = None
    match_created: float | None = None
    match_ended: float | None = None
    received: float | None = None
    judged: float | None = None
    facts_file: str | None = None
    own_file: str | None = None

    def said(self) -> dict[str, str | None]:
        """What one can filter by."""
        return {name: getattr(self, name) for name in FILTERS}


class _Column(NamedTuple):
    name: str
    type: pa.DataType
    value: Callable[[TableRow], Any]


def _plain(name: str, kind: pa.DataType) -> _Column:
    return _Column(name, kind, attrgetter(name))


def _counted(name: str, kind: pa.DataType, value: Callable[[EpisodePlayerRow, TableRow], Any]) -> _Column:
    return _Column(name, kind, lambda row: None if row.counted is None else value(row.counted, row))


def _share(count: int, row: TableRow) -> float | None:
    return count / row.own_frames if row.own_frames else None


def _fps(counted: EpisodePlayerRow, row: TableRow) -> float | None:
    if counted.began is None or counted.ended is None or row.own_frames is None:
        return None
    return row.own_frames / (counted.ended - counted.began) if counted.ended > counted.began else None


_COLUMNS = (
    *(_plain("match", pa.string()), _plain("episode", pa.int64()), _plain("player", pa.int64())),
    *(_plain("agent", pa.string()), _plain("participant", pa.string())),
    _counted("policy", pa.string(), lambda counted, _: counted.policy),
    *(_plain("experiment", pa.string()), _plain("condition", pa.string()), _plain("match_number", pa.int64())),
    *(_plain("game", pa.string()), _plain("game_version", pa.string()), _plain("input_delay", pa.int64())),
    *(_plain("verdict", pa.string()), _plain("detail", pa.string()), _plain("status", pa.string())),
    *(_plain("frames", pa.int64()), _plain("seed", pa.int64())),
    _counted("return", pa.float64(), lambda counted, _: counted.reward),
    *(_plain("own_status", pa.string()), _plain("own_frames", pa.int64())),
    _counted("rollbacks", pa.int64(), lambda counted, _: counted.rollbacks),
    _counted("mispredicted", pa.float64(), lambda counted, row: _share(counted.mispredicted, row)),
    _counted("speculative", pa.float64(), lambda counted, row: _share(counted.speculative, row)),
    _counted("stalls", pa.int64(), lambda counted, _: counted.stalls),
    _counted("rtt_ms", pa.float64(), lambda counted, _: None if counted.rtt is None else counted.rtt * 1000),
    _counted("fps", pa.float64(), _fps),
    _counted("began", pa.float64(), lambda counted, _: counted.began),
    _counted("ended", pa.float64(), lambda counted, _: counted.ended),
    *(_plain(name, pa.float64()) for name in ("match_created", "match_ended", "received", "judged")),
    *(_plain("facts_file", pa.string()), _plain("own_file", pa.string())),
)


def table(rows: Sequence[TableRow]) -> pa.Table:
    """These rows, in this order."""
    schema = pa.schema([(column.name, column.type) for column in _COLUMNS])
    return pa.table([pa.array([*map(column.value, rows)], column.type) for column in _COLUMNS], schema)
