"""Stored episodes as flat Arrow tables, straight from their files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from rollgym.dataset.flat_infos import as_field
from rollgym.dataset.flat_table import Columns, beside, facts, in_order, own_part
from rollgym.dataset.json_text import to_json
from rollgym.dataset.provenance import provenance
from rollgym.dataset.sources import Source
from rollgym.games.errors import GameError
from rollgym.games.spaces.codec import CodecError
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.values import ValueFormatError
from rollgym.protocol.files.parquet import EpisodeFileError, Layout, OwnLayout, read_layout, read_table

METADATA = b"rollgym.provenance"
"""Key of a flat table's schema metadata: JSON of the provenance, with ``final`` and ``reset_infos``."""


def metadata_json(text: bytes | None) -> dict[str, Any] | None:
    """The provenance in these bytes, if there is any. Raises ``ValueError`` for what is no JSON."""
    found = None if text is None else json.loads(text)
    return found if isinstance(found, dict) else None


BAD_COLUMNS = (
    *(pa.ArrowException, CodecError, ExportError, GameError, LookupError, TypeError, ValueError, ValueFormatError),
)
"""What reading columns raises that do not fit the spaces of their file."""


class OwnTable(NamedTuple):
    """A peer's own part."""

    layout: Layout
    table: pa.Table


class EpisodeTables(NamedTuple):
    """Everything a flat table is made of, read once."""

    source: Source
    facts: Columns
    own: dict[int, OwnTable]
    about: dict[str, Any]
    """Provenance, and what has no row."""

    def table(self, player: int | None = None, fields: Mapping[str, pa.Field] | None = None) -> pa.Table:
        """One row per frame. With a ``player`` in the form of that player's own export, else with all own parts.

        ``fields``: make it these columns, with nulls in those that the episode has not.
        """
        frames = self.source.layout.header.frames
        found = dict(self.facts)
        for number, own in self.own.items():
            if player is None or player == number:
                found.update(own_part(own.layout, own.table, frames, named=player is None))
        if fields is None:
            fields = {name: column.field for name, column in in_order(found).items()}
        arrays = [
            as_field(found[name].values, found[name].field, field) if name in found else pa.nulls(frames, field.type)
            for name, field in fields.items()
        ]
        return pa.table(arrays, pa.schema(fields.values(), {METADATA: to_json(self.about).encode()}))


def read_tables(source: Source) -> EpisodeTables:
    """Read an episode's files. Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
    layout, table = read_table(source.path)
    own: dict[int, OwnTable] = {}
    for player, path in source.own.items():
        own[player] = OwnTable(layout, table) if path == source.path else _own_table(path, player)
    try:
        about = {
            **provenance(layout, [part.layout.own for part in own.values() if part.layout.own is not None]),
            **beside(layout, table),
        }
        return EpisodeTables(source, facts(layout, table), own, about)
    except BAD_COLUMNS as error:
        raise EpisodeFileError(source.path, f"the columns do not fit the spaces: {error}") from error


def _own_table(path: Any, player: int) -> OwnTable:
    layout, table = read_table(path)
    if layout.own is None or layout.own.player != player:
        raise EpisodeFileError(path, f"holds no own part of player {player}")
    return OwnTable(layout, table)


def own_layouts(source: Source) -> Iterator[OwnLayout]:
    """The metadata of the players' own parts. Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`."""
    for path in source.own.values():
        layout = source.layout if path == source.path else read_layout(path)
        if layout.own is not None:
            yield layout.own
