"""An episode as a flat table: one row per frame, one number (or text) per cell.

Names are those that users of Multi-User Gymnasium's exports know: ``actions.left``, ``infos.left.rally``; of odd agents
and keys as in :mod:`rollgym.protocol.column_names`. Row ``t`` has
the observation before the step of frame ``t``, and the actions, rewards, flags and infos of that step. What has no
row of its own, the final observation and the infos of ``reset``, is apart: :func:`beside`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rollgym.dataset.flat_infos import info_columns, json_field, reset_infos
from rollgym.dataset.json_text import to_json
from rollgym.dataset.stored_actions import distinct_codes
from rollgym.dataset.stored_spaces import observed_columns, space_of
from rollgym.games.spaces.codec import codec_for
from rollgym.games.spaces.described import flattener, leaves
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.export import OWN_COLUMNS, Header
from rollgym.protocol.files.columns import stored_array
from rollgym.protocol.files.parquet import Layout, OwnLayout

T = TypeVar("T")


class FlatColumn(NamedTuple):
    """A column of a table."""

    field: pa.Field
    values: pa.Array


Columns = dict[str, FlatColumn]
"""Of one length, by name, in order."""

OWN_NAMES = {
    "time": "timestamp",
    "was_speculative": "wasSpeculative",
    "mispredicted": "mispredicted",
    "times_simulated": "timesSimulated",
    "rollbacks": "rollbacks",
    "rtt": "rtt",
    "frame_advantage": "frameAdvantage",
}
"""A peer's own columns here. ``timestamp`` is Unix seconds, the others are as they were."""

ROLLBACK_EVENTS = "rollbackEvents"

OWN_PREFIXES = (*OWN_NAMES.values(), ROLLBACK_EVENTS, "isFocused")
"""First parts of the names of columns that rightly differ between peers."""


def facts(layout: Layout, table: pa.Table) -> Columns:
    """The canonical columns of an episode of ``T`` frames, ``T`` rows each.

    Raises ``ValueError`` (and its kin) for columns that do not fit the spaces.
    """
    assert layout.canonical is not None
    header, frames = layout.header, layout.header.frames
    columns: Columns = {}

    def put(name: str, values: pa.Array) -> None:
        _put(columns, pa.field(name, values.type), values)

    put("match", pa.array([header.match], pa.string()).take(pa.array(np.zeros(frames, np.int64))))
    put("episode_num", pa.array(np.full(frames, header.episode, np.int64)))
    put("t", pa.array(np.arange(frames, dtype=np.int64)))
    for index, agent in enumerate(header.game.agents):
        if f"actions/{agent}" in layout.canonical.columns:
            for name, values in _actions(layout, table, index):
                put(name, values)
    for stored, title in (("rewards", "rewards"), ("terminations", "terminateds"), ("truncations", "truncateds")):
        for name, values in _by_agent(layout, table, stored, title):
            put(name, values)
    for field, values in info_columns(layout, table):
        _put(columns, field, values)
    for name, values in _by_agent(layout, table, "input_source", "inputSource"):
        put(name, values)
    for name, states in _states(layout, table):
        put(name, pa.array(states[:frames]))
    return columns


def _put(columns: Columns, field: pa.Field, values: pa.Array) -> None:
    if field.name in columns:
        raise ValueError(f"two columns of the name {field.name}")
    columns[field.name] = FlatColumn(field, values)


def beside(layout: Layout, table: pa.Table) -> dict[str, Any]:
    """What has no row: ``final``, the observations and digest after the last step by column name, and
    ``reset_infos`` by agent and key. Plain values."""
    final = {name: values[-1].item() for name, values in _states(layout, table)}
    return {"final": final, "reset_infos": reset_infos(layout, table)}


def own_part(layout: Layout, table: pa.Table, frames: int, *, named: bool) -> Columns:
    """A peer's own columns, ``frames`` rows: null where this peer's episode was shorter.

    With ``named``, ``timestamp`` and ``rollbackEvents`` end in the agent's name as the others do.
    """
    own = layout.own
    assert own is not None
    agent = layout.header.game.players[own.player]
    columns: Columns = {}
    for name, title in OWN_NAMES.items():
        values = stored_array(table, own.columns[name])
        if name == "time":
            values = values + own.started_at
        full = joined([title, agent], ".") if named or name != "time" else title
        padded = _padded(values, frames)
        _put(columns, pa.field(full, padded.type), padded)
    title = joined([ROLLBACK_EVENTS, agent], ".") if named else ROLLBACK_EVENTS
    _put(columns, json_field(title), _rollback_events(layout.header, own, table, frames))
    return columns


def own_fields(agent: str) -> list[pa.Field]:
    """The columns of :func:`own_part` of this agent's player, when ``named``."""
    fields = [
        pa.field(joined([title, agent], "."), pa.from_numpy_dtype(np.dtype(OWN_COLUMNS[name])))
        for name, title in OWN_NAMES.items()
    ]
    return [*fields, json_field(joined([ROLLBACK_EVENTS, agent], "."))]


def rollback_events(header: Header, own: OwnLayout, table: pa.Table) -> list[dict[str, Any]]:
    """The rollbacks of a peer's own part, with actions in place of their bytes."""
    found: list[dict[str, Any]] = table.column("own/rollback_events").combine_chunks().slice(0, 1).flatten().to_pylist()
    decoders = [_decoder(header, agent) for agent in header.game.players]
    for event in found:
        decode = decoders[event["player"]] if 0 <= event["player"] < len(decoders) else bytes.hex
        event["predicted"], event["actual"] = decode(event["predicted"]), decode(event["actual"])
    return found


# --- parts ------------------------------------------------------------------------------------------------------


def _by_agent(layout: Layout, table: pa.Table, name: str, title: str) -> Iterator[tuple[str, pa.Array]]:
    assert layout.canonical is not None
    values = stored_array(table, layout.canonical.columns[name])
    for index, agent in enumerate(layout.header.game.agents):
        yield joined([title, agent], "."), pa.array(np.ascontiguousarray(values[:, index]))


def _states(layout: Layout, table: pa.Table) -> Iterator[tuple[str, NDArray[Any]]]:
    """Observations and digests, ``T + 1`` values each."""
    assert layout.canonical is not None
    columns, game = layout.canonical.columns, layout.header.game
    for agent, description in zip(game.agents, game.observation_spaces, strict=True):
        space = space_of(description)
        names = observed_columns(space, agent, columns)
        for leaf in leaves(space):
            title = joined(["observations", agent, *leaf.keys], ".")
            yield from elements(title, stored_array(table, columns[names[leaf.path]]))
    yield "stateDigest", stored_array(table, layout.canonical.columns["state_digest"])


def elements(name: str, values: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of an array with rows of any shape: ``name.0``, ``name.1``, ``name.0.2``; or ``name`` itself."""
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag], axis=-1)
    for index in np.ndindex(values.shape[1:]):
        yield ".".join((name, *map(str, index))), np.ascontiguousarray(values[(slice(None), *index)])


def _actions(layout: Layout, table: pa.Table, agent: int) -> Iterator[tuple[str, pa.Array]]:
    assert layout.canonical is not None
    header = layout.header
    name = header.game.agents[agent]
    place = layout.canonical.columns[f"actions/{name}"]
    codes = stored_array(table, place)
    space = space_of(header.game.action_spaces[agent])
    codec, parts, flatten = codec_for(space), leaves(space), flattener(space)
    if codes.ndim != 2 or codes.shape[1] != codec.width:
        raise ValueError(f"actions/{name}: rows of shape {codes.shape[1:]}, expected ({codec.width},)")
    distinct, which = distinct_codes(codes)
    decoded = [flatten(codec.decode(code)) for code in distinct]
    for index, leaf in enumerate(parts):
        values = np.array([row[index] for row in decoded], leaf.dtype).reshape(len(decoded), *leaf.shape)[which]
        title = joined(["actions", name, *leaf.keys], ".")
        for full, column in elements(title, values):
            yield full, pa.array(column)


def _padded(values: NDArray[Any], frames: int) -> pa.Array:
    array = pa.array(values[:frames])
    missing = frames - len(array)
    return pa.concat_arrays([array, pa.nulls(missing, array.type)]) if missing else array


def _rollback_events(header: Header, own: OwnLayout, table: pa.Table, frames: int) -> pa.Array:
    """As JSON lists, each at the frame that was to come next when it happened (the last, if none came)."""
    at: dict[int, list[dict[str, Any]]] = {}
    last = min(header.frames, frames) - 1
    for event in rollback_events(header, own, table):
        at.setdefault(max(0, min(event["at_frame"], last)), []).append(event)
    return pa.array([to_json(at[row]) if row in at else None for row in range(frames)], pa.string())


def _decoder(header: Header, agent: str) -> Callable[[bytes], Any]:
    index = header.game.agents.index(agent)
    codec = codec_for(space_of(header.game.action_spaces[index]))

    def decode(data: bytes) -> Any:
        return plain(codec.decode(data))

    return decode


def plain(value: Any) -> Any:
    """A decoded action as plain values."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


ORDER = (
    *("match", "episode_num", "t", "timestamp", "actions", "rewards", "terminateds", "truncateds", "infos"),
    *("wasSpeculative", "mispredicted", "timesSimulated", "rollbacks", "rtt", "frameAdvantage", "rollbackEvents"),
    *("inputSource", "observations", "stateDigest"),
)
"""First parts of the columns' names, in the order of a table."""


def in_order(columns: dict[str, T]) -> dict[str, T]:
    """The same, in the order of a table."""
    ranks = {name: rank for rank, name in enumerate(ORDER)}
    return dict(sorted(columns.items(), key=lambda item: ranks.get(item[0].split(".", 1)[0], len(ranks))))
