"""Frames to columns: the one place where played or re-simulated frames become the canonical part of an export.

The recorder of a peer and the replay audit of the server both go through here, so the same episode gives the
same columns, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.contract import GameSpec, JointInput, Observation, Outcome
from rollgym.games.errors import GameError
from rollgym.games.spaces.described import Leaf, flattener, leaves
from rollgym.games.spaces.exact import exact
from rollgym.games.spaces.row_views import RowLayout, RowObservation
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import INPUT_NPC, Canonical, Info
from rollgym.protocol.episode.values import pack_value

CHUNK = 512
"""Rows that are converted at once: enough to make the cost of a column small beside that of its values, and so few that
converting them is no hitch and the end of an episode costs little."""


class CanonicalBuilder:
    """Append-only and contiguous: :meth:`start` once, then :meth:`append` per frame in order.

    Values are kept by reference for at most :data:`CHUNK` rows, and as the bytes of their columns from then on; nobody
    may change them after handing them over. A row that has no place in the game's spaces makes the call raise that
    comes to convert it (:meth:`append`, :meth:`seal` or :meth:`build`); what is kept ends before that row for good.
    """

    def __init__(self, spec: GameSpec) -> None:
        self._spec = spec
        self.frames = 0
        """How many frames have been appended: the next frame's number."""
        self.newest_observations: tuple[Observation, ...] = ()
        """The observations of the newest row."""
        self._columns: dict[str, _Growing] = {}
        self._entries: list[Info] = []
        self._converted = 0
        """Rows that are converted; row 0 is what ``reset`` gave."""
        self._broken: Exception | None = None
        self._inputs: list[JointInput] = []
        self._sources: list[Sequence[int]] = []
        self._outcomes: list[Outcome] = []
        self._observations: list[tuple[Observation, ...]] = []
        self._digests: list[int] = []
        self._infos: list[tuple[Mapping[str, Any], ...]] = []

    def start(self, infos: tuple[Mapping[str, Any], ...], observations: tuple[Observation, ...], digest: int) -> None:
        """What ``reset`` gave: the row before frame 0. It is converted at once, so that there is something to keep."""
        if self._converted:
            raise ValueError("the episode was started already")
        self._infos.append(infos)
        self._observe(observations)
        self._digests.append(digest)
        self._convert()

    def append(
        self,
        inputs: JointInput,
        sources: Sequence[int],
        outcome: Outcome,
        observations: tuple[Observation, ...],
        digest: int,
    ) -> None:
        """The next frame: its joint input (and where each came from), its outcome, and the state it led to.

        ``inputs`` and ``sources`` are per player; what NPCs did is in the outcome.
        """
        if not self._converted:
            raise ValueError("the episode was not started")
        if self._broken is not None:
            raise self._broken
        self._inputs.append(inputs)
        self._sources.append(sources)
        self._outcomes.append(outcome)
        self._observe(observations)
        self._digests.append(digest)
        self._infos.append(outcome.infos)
        self.frames += 1
        if len(self._digests) >= CHUNK:
            self._convert()

    def _observe(self, observations: tuple[Observation, ...]) -> None:
        self.newest_observations = observations
        # Of a row with views the row is enough; the views are seven times its size.
        self._observations.append(tuple([o.row if type(o) is RowObservation else o for o in observations]))

    def seal(self) -> None:
        """Convert what has not been yet."""
        if self._broken is not None:
            raise self._broken
        if self._digests:
            self._convert()

    def build(self) -> Canonical:
        """All rows as columns. May be called at any time after :meth:`start`."""
        if self._digests:
            self._convert()
        return Canonical(
            {"frame": Column.of(np.arange(self.frames, dtype=np.uint32))}
            | {name: column.whole() for name, column in self._columns.items()},
            list(self._entries),
        )

    def _convert(self) -> None:
        """The kept rows become bytes; if one cannot, those before it do, and it is the end."""
        rows = len(self._digests)
        try:
            self._take(rows)
        except Exception as error:
            self._broken = error
            self._take_sound(rows)
            self.frames = max(0, self._converted - 1)
            self._forget(len(self._digests))
            raise

    def _take_sound(self, rows: int) -> None:
        for sound in range(rows - 1, 0, -1):
            try:
                return self._take(sound)
            except Exception:  # noqa: S112, BLE001 - the same row again, whose error is being raised
                continue
        return None

    def _take(self, rows: int) -> None:
        columns, entries = self._columns_of(rows), self._entries_of(rows)
        for name, column in columns.items():
            self._columns.setdefault(name, _Growing(column)).add(column)
        self._entries += entries
        self._converted += rows
        self._forget(rows)

    def _forget(self, rows: int) -> None:
        del self._inputs[:rows], self._sources[:rows], self._outcomes[:rows]
        del self._observations[:rows], self._digests[:rows], self._infos[:rows]

    def _columns_of(self, rows: int) -> dict[str, Column]:
        """The first ``rows`` kept rows as columns. Of ``reset`` there is no joint input and no outcome."""
        outcomes, inputs = self._outcomes[:rows], self._inputs[:rows]
        columns = {
            "rewards": self._per_agent("rewards", [o.rewards for o in outcomes], float),
            "terminations": self._per_agent("terminations", [o.terminated for o in outcomes], bool),
            "truncations": self._per_agent("truncations", [o.truncated for o in outcomes], bool),
            "input_source": self._input_source(self._sources[:rows]),
            "state_digest": Column.of(np.array(self._digests[:rows], dtype=np.uint64)),
        }
        for player, agent in enumerate(self._spec.seats):
            self._put_actions(columns, agent, [joint[player] for joint in inputs])
        for npc, agent in enumerate(self._spec.npcs):
            self._put_actions(columns, agent, [outcome.npc_actions[npc] for outcome in outcomes])
        columns.update(observation_columns(self._spec, self._observations[:rows]))
        return columns

    def _put_actions(self, columns: dict[str, Column], agent: int, actions: list[bytes]) -> None:
        shape = (len(actions), self._spec.codecs[agent].width)
        columns[f"actions/{self._spec.agents[agent]}"] = Column("|u1", shape, b"".join(actions))

    def _input_source(self, sources: list[Sequence[int]]) -> Column:
        spec, rows = self._spec, len(sources)
        values = np.full((rows, len(spec.agents)), INPUT_NPC, dtype=np.uint8)
        values[:, spec.seats] = np.array(sources, dtype=np.uint8).reshape(rows, spec.players)
        return Column.of(values)

    def _per_agent(self, name: str, rows: list[tuple[Any, ...]], kind: type) -> Column:
        """What is not of the kind already is, if it is the same number: an integer for a reward, 0 and 1 for a flag."""
        shape = (len(rows), len(self._spec.agents))
        values = [value for row in rows for value in row]
        if len(values) == shape[0] * shape[1] and all([type(value) is kind for value in values]):
            return Column.of(np.array(values, dtype=kind).reshape(shape))
        return Column.of(exact(name, rows, np.dtype(kind), shape).values)

    def _entries_of(self, rows: int) -> list[Info]:
        entries: list[Info] = []
        for row, infos in enumerate(self._infos[:rows], self._converted):
            for agent, info in enumerate(infos):
                if info:
                    entries.extend(Info(row, agent, key, pack_value(info[key])) for key in sorted(info))
        return entries


class _Growing:
    """A column that is put together from chunks of the same type and row shape."""

    __slots__ = ("_dtype", "_parts", "_row", "_rows")

    def __init__(self, like: Column) -> None:
        self._dtype = like.dtype
        self._row = like.shape[1:]
        self._rows = 0
        self._parts: list[bytes] = []

    def add(self, column: Column) -> None:
        if (column.dtype, column.shape[1:]) != (self._dtype, self._row):
            raise GameError("column", (column.dtype, column.shape[1:]), f"{self._dtype} rows of shape {self._row}")
        self._rows += column.shape[0]
        self._parts.append(column.data)

    def whole(self) -> Column:
        data = b"".join(self._parts)
        self._parts = [data]
        return Column(self._dtype, (self._rows, *self._row), data)


def prefix(canonical: Canonical, frames: int) -> Canonical:
    """The first ``frames`` frames of a canonical part."""
    columns = {}
    for name, column in canonical.columns.items():
        rows = frames + 1 if name == "state_digest" or name.startswith("observations/") else frames
        rows = min(rows, column.shape[0])
        size = len(column.data) // column.shape[0] * rows if column.shape[0] else 0
        columns[name] = Column(column.dtype, (rows, *column.shape[1:]), column.data[:size])
    return Canonical(columns, [info for info in canonical.infos if info.row <= frames])


def observation_columns(
    spec: GameSpec, rows: Sequence[tuple[Observation, ...]], *, prefix: str = "observations", agents: Sequence[int] = ()
) -> dict[str, Column]:
    """Observation columns of ``len(rows)`` rows: one per agent and leaf of its space.

    Each row holds one observation per agent of ``agents`` (all of the spec's if empty), in that order. In place of a
    :class:`~rollgym.games.spaces.row_views.RowObservation` its row will do.
    """
    columns: dict[str, Column] = {}
    for at, agent in enumerate(agents or range(len(spec.agents))):
        space = spec.observation_spaces[agent]
        name = joined([prefix, spec.agents[agent]], "/")
        values = [row[at] for row in rows]
        if isinstance(space, spaces.Dict) and values and type(values[0]) is np.ndarray:
            columns.update(_columns_of_rows(space, values, name))
            continue
        for leaf, parts in _by_leaf(space, values):
            dtype = leaf.dtype.newbyteorder("<")
            path = f"{name}/{leaf.path}" if leaf.path else name
            columns[path] = Column(dtype.str, (len(rows), *leaf.shape), _joined(leaf, dtype, parts))
    return columns


def _columns_of_rows(space: spaces.Dict, rows: list[NDArray[Any]], name: str) -> dict[str, Column]:
    layout = RowLayout(space)
    table = np.concatenate(rows)
    if table.dtype != layout.dtype or table.size != len(rows) * layout.width:
        raise GameError(f"observation row of {name}", table.dtype, f"{layout.width} values of {layout.dtype}")
    table = table.reshape(len(rows), layout.width)
    return {f"{name}/{joined([key], '/')}": Column.of(table[:, part]) for key, part in layout.parts}


def _by_leaf(space: spaces.Space[Any], rows: list[Observation]) -> list[tuple[Leaf, list[Any]]]:
    """The values of every leaf over all rows. Checked against the space; arrays are passed on, not copied."""
    parts = leaves(space)
    if isinstance(space, spaces.Dict) and [leaf.keys for leaf in parts] == [(key,) for key in sorted(space.spaces)]:
        # The usual flat Dict. Reading leaf by leaf is several times as fast as taking every row apart.
        columns = [[row[key] for row in rows] for key in sorted(space.spaces)]
        if all(_exact(leaf, values) for leaf, values in zip(parts, columns, strict=True)):
            return list(zip(parts, columns, strict=True))
    flatten = flattener(space)
    flat = [flatten(row) for row in rows]
    return [(leaf, [values[index] for values in flat]) for index, leaf in enumerate(parts)]


def _exact(leaf: Leaf, values: list[Any]) -> bool:
    dtype, shape = leaf.dtype, leaf.shape
    return all([type(value) is np.ndarray and value.dtype == dtype and value.shape == shape for value in values])


def _joined(leaf: Leaf, dtype: np.dtype[Any], values: list[Any]) -> bytes:
    if values and type(values[0]) is np.ndarray and leaf.dtype == dtype:
        return b"".join([value.tobytes() for value in values])
    return np.array(values, dtype=dtype).tobytes()
