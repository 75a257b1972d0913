"""Reading stored episodes: as numpy arrays, and as flat tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.dataset.filters import NoSuchEpisodeError, OneOrMore, Wanted
from rollgym.dataset.provenance import provenance
from rollgym.dataset.sources import Source, opened_sources
from rollgym.dataset.stored_actions import decoded_actions
from rollgym.dataset.stored_spaces import gather, observed_columns, space_of
from rollgym.dataset.tables import BAD_COLUMNS, own_layouts, read_tables
from rollgym.protocol.episode.export import Header, Own
from rollgym.protocol.files.columns import stored_array
from rollgym.protocol.files.infos import InfoValues, get_info_values
from rollgym.protocol.files.layout import BAD_FILE, Footer, Layout, StoredColumn, short
from rollgym.protocol.files.parquet import EpisodeFileError, get_own, read_episode, read_table

__all__ = ["Episode", "EpisodeFileError", "NoSuchEpisodeError", "load", "load_sources"]

Infos = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, repr=False)
class Episode:
    """One episode of ``T`` frames: canonical facts only. Mappings are by agent, arrays are read-only.

    Row 0 of observations and infos is from ``reset``, row ``f + 1`` from the step of frame ``f``; everything else has
    one row per frame.
    """

    path: Path
    header: Header
    frames: int
    """``T``."""
    observations: dict[str, Any]
    """``T + 1`` rows: an array, or for Dict and Tuple spaces a dict or tuple of arrays."""
    actions: dict[str, Any]
    """``T`` rows: an array; a list of ``T`` actions where the space is a Dict or a Tuple."""
    rewards: dict[str, NDArray[np.float64]]
    terminations: dict[str, NDArray[np.bool_]]
    truncations: dict[str, NDArray[np.bool_]]
    infos: Infos
    """``T + 1`` dicts."""
    input_source: NDArray[np.uint8]
    """``(T, agents)``: 0 real, 1 filled in while the player was away, 2 an NPC's own, 3 filled in after it had left."""
    own: Own | None
    """The peer's own part, in a file that a peer wrote."""
    extra: dict[str, str]
    """What the server says about the episode, its verdict among it, as it is in the file."""
    source: Source = field(repr=False, compare=False)
    """Its files."""

    def __repr__(self) -> str:
        about = [f"{self.header.game.id}, {self.frames} frames of {', '.join(self.agents)}"]
        about += [self.header.status, *filter(None, [self.verdict])]
        return f"<Episode {self.number} of match {self.match}: {', '.join(about)}>"

    @property
    def match(self) -> str:
        """The match's id."""
        return self.header.match

    @property
    def number(self) -> int:
        """Which episode of the match, from 0."""
        return self.header.episode

    @property
    def verdict(self) -> str | None:
        """The server's verdict; None in a file that a peer wrote."""
        return self.source.verdict

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from, all of it, as plain values. ``docs/dataset.md`` has the keys."""
        return provenance(self.source.layout, own_layouts(self.source))

    @cached_property
    def own_parts(self) -> dict[int, Own]:
        """By player: how that peer came to know the episode. Read when first asked for."""
        found = {}
        for player, path in self.source.own.items():
            own = self.own if path == self.path else read_episode(path).own
            if own is not None:
                found[player] = own
        return found

    def table(self, player: int | None = None) -> pa.Table:
        """One row per frame, one number per cell; ``docs/dataset.md`` has the columns.

        With a ``player`` its own columns are named as in that player's CSV export. The file is read again. For pandas
        add ``.to_pandas()``, for polars ``polars.from_arrow(...)``.
        """
        if player is not None and player not in self.source.own:
            raise ValueError(f"player {player}: expected one of {sorted(self.source.own)}, whose own parts are there")
        return read_tables(self.source).table(player)

    @property
    def agents(self) -> tuple[str, ...]:
        """Names in the order of ``input_source``'s columns; ``header.game.npcs`` are those without a player."""
        return self.header.game.agents


def load(
    path: str | os.PathLike[str],
    *,
    match: OneOrMore = None,
    game: OneOrMore = None,
    experiment: OneOrMore = None,
    condition: OneOrMore = None,
    verdict: OneOrMore = None,
    status: OneOrMore = None,
) -> Iterator[Episode]:
    """The episodes at ``path``, one at a time, in order of their names.

    ``path`` is a data folder (its dataset is read), any other folder (all episode files below it), or one file. Files
    of a peer's own part are passed over. The filters take one value or several, and look at metadata only: what is
    not wanted is not read. Files of peers say nothing of verdict, condition and experiment. ``game`` is an id, as
    experiment files name it. ``status`` tells whole episodes (``complete``) from prefixes, among those of verdict
    ``single`` too.

    Raises ``ValueError`` for a verdict or a status that there is not, ``FileNotFoundError`` if there is no such path or
    no file of an episode there, :class:`~rollgym.dataset.filters.NoSuchEpisodeError` if the filters leave none of those
    that are there, and :class:`~rollgym.protocol.files.parquet.EpisodeFileError`, which names the file, for one that
    cannot be read.
    """
    wanted = Wanted.of(
        match=match, game=game, experiment=experiment, condition=condition, verdict=verdict, status=status
    )
    return (_loaded(source, footer) for source, footer in opened_sources(path, wanted))


def load_sources(found: Iterable[Source]) -> Iterator[Episode]:
    """The episodes of these files, one at a time. Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
    return (_loaded(source, None) for source in found)


def _loaded(source: Source, footer: Footer | None) -> Episode:
    layout, table = read_table(source.path, footer)
    assert layout.canonical is not None
    try:
        columns = {name: _array(table, place) for name, place in layout.canonical.columns.items()}
        own = None if layout.own is None else get_own(table, layout.own)
    except BAD_FILE as error:
        raise EpisodeFileError(source.path, f"not a readable episode: {short(error)}") from error
    try:
        infos = _infos(layout.header, get_info_values(table, layout.canonical))
        return _episode(source, layout, columns, infos, own)
    except BAD_COLUMNS as error:
        raise EpisodeFileError(source.path, f"the columns do not fit the spaces: {error}") from error


def _array(table: pa.Table, place: StoredColumn) -> NDArray[Any]:
    found = stored_array(table, place)
    found.flags.writeable = False
    return found


def _infos(header: Header, found: Iterable[InfoValues]) -> Infos:
    agents = header.game.agents
    infos: Infos = {agent: [{} for _ in range(header.frames + 1)] for agent in agents}
    for agent, key, rows, values in found:
        mine = infos[agents[agent]]
        for row, value in zip(rows, values, strict=True):
            mine[row][key] = value
    return infos


def _episode(
    source: Source, layout: Layout, columns: dict[str, NDArray[Any]], infos: Infos, own: Own | None
) -> Episode:
    header, game = layout.header, layout.header.game

    def per_agent(name: str) -> dict[str, NDArray[Any]]:
        return {agent: columns[name][:, index] for index, agent in enumerate(game.agents)}

    def seen(agent: str, space: spaces.Space[Any]) -> Any:
        names = observed_columns(space, agent, columns)
        return gather(space, {path: columns[name] for path, name in names.items()})

    observed = zip(game.agents, game.observation_spaces, strict=True)
    spaces_of = dict(zip(game.agents, game.action_spaces, strict=True))
    acted = [(agent, space) for agent, space in spaces_of.items() if f"actions/{agent}" in columns]
    return Episode(
        path=source.path,
        header=header,
        frames=header.frames,
        observations={agent: seen(agent, space_of(space)) for agent, space in observed},
        actions={agent: decoded_actions(space_of(space), columns[f"actions/{agent}"]) for agent, space in acted},
        rewards=per_agent("rewards"),
        terminations=per_agent("terminations"),
        truncations=per_agent("truncations"),
        infos=infos,
        input_source=columns["input_source"],
        own=own,
        extra=layout.extra,
        source=source,
    )
