"""The frames of all episodes as one lazy Arrow dataset, for whatever reads such: polars, DuckDB, Arrow itself."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow import fs

from rollgym.dataset.episodes_in_catalogue import catalogue_at, facts_in_catalogue
from rollgym.dataset.facts_files import FactsFile, facts_files
from rollgym.dataset.filters import OneOrMore, Wanted
from rollgym.dataset.sources import episode_sources
from rollgym.protocol.files.layout import EpisodeFileError, read_layout
from rollgym.protocol.files.table_types import Fields, facts_fields, info_fields

_SAID = {
    "match": pa.string(),
    "episode": pa.int64(),
    "player": pa.int64(),
    "experiment": pa.string(),
    "condition": pa.string(),
    "match_number": pa.int64(),
    "game": pa.string(),
    "game_version": pa.string(),
    "input_delay": pa.int64(),
    "verdict": pa.string(),
    "status": pa.string(),
    "frames": pa.int64(),
    "seed": pa.int64(),
}
"""Columns that are in no file: each has one value in all rows of one. A filter on them leaves files unopened."""

_FIELDS = {name: pads.field(name) for name in _SAID}
_OWN = ("match", "episode", "match_number", "seed")
_SHARED = tuple(name for name in _SAID if name not in _OWN)


def scan(
    path: str | os.PathLike[str],
    *,
    match: OneOrMore = None,
    game: OneOrMore = None,
    experiment: OneOrMore = None,
    condition: OneOrMore = None,
    verdict: OneOrMore = None,
    status: OneOrMore = None,
    infos: bool = False,
) -> pa.dataset.Dataset:
    """The frames of all episodes at ``path`` as one lazy ``pyarrow.dataset.Dataset``.

    Nothing is read but what is used, and when it is used; files are opened anew each time that it is.

    polars takes it with ``polars.scan_pyarrow_dataset(...)``, DuckDB as a table by the name of the variable, Arrow by
    its own ``to_table(columns=..., filter=...)``. Only the columns that are used are read.

    Columns are those of the episode files (``docs/dataset.md``): ``T + 1`` rows for an episode of ``T`` frames, of
    which the last holds the final observation and has a null for ``frame`` and for everything that a step gives. With
    them in every row: match, episode, player (whose version it is, where players' versions differ, otherwise null),
    experiment, condition, match_number, game, game_version, input_delay, verdict, status, frames (``T``), seed. They
    are in no file: a filter on them leaves the files of other episodes unopened. Rows come by match, episode and
    version only if the reader keeps the order of its files.

    Of a data folder that a server wrote the episodes come from the catalogue, as in :func:`rollgym.episodes`, and one
    file for each game is opened, whose columns are those of the others too. This is not true of infos: they are
    columns only with ``infos``, which opens every file once to see which keys of which types there are. A key is null
    in episodes that lack it, and no column if it is of one type here and of another there: :func:`rollgym.load` has
    it. Any other path that :func:`rollgym.load` takes is looked through file by file, some milliseconds for each.

    The episodes, and the filters, are those of :func:`rollgym.load`: all episodes that have a verdict, unless one is
    asked for; of a ``diverged`` one every version.

    Raises ``ValueError`` for a verdict or a status that there is not, for games whose columns differ (it says which
    filter separates them), and for a path that is no text; ``FileNotFoundError`` if there is no such path or no file
    of an episode there, :class:`~rollgym.dataset.filters.NoSuchEpisodeError` if the filters leave none of those that
    are there, :class:`~rollgym.protocol.files.parquet.EpisodeFileError`, which names the file, for one that is opened
    and cannot be read, and :class:`~rollgym.server.errors.ServerError` for a catalogue that cannot be read. A
    file that is missing or broken when it is read raises ``OSError`` or ``pyarrow.ArrowException`` there, with its
    name.
    """
    wanted = Wanted.of(
        match=match, game=game, experiment=experiment, condition=condition, verdict=verdict, status=status
    )
    files = _files(Path(path), wanted)
    try:
        files[0].path.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{os.fspath(path)!r} is no text: Arrow opens no such path; rollgym.load does") from error
    return _dataset(files, _schema(path, files, infos))


def _files(path: Path, wanted: Wanted) -> list[FactsFile]:
    place = catalogue_at(path)
    if place is None:
        return [*facts_files(episode_sources(path, wanted))]
    found = facts_in_catalogue(place)
    if not found:
        raise FileNotFoundError(f"{path}: no episodes in it")
    left = [file for file in found if wanted.takes(file.said())] if wanted.given() else found
    if not left:
        raise wanted.why_none(path, [file.said() for file in found])
    return left


class _Frames(pads.FileSystemDataset):  # type: ignore[misc] # pyarrow has no types
    """A dataset that does not keep the metadata of every file that it read: 0.2 MiB each, of thousands of files."""

    def scanner(self, columns: Any = None, filter: Any = None, **options: Any) -> pads.Scanner:  # noqa: A002 - Arrow's
        # Whatever is said: Arrow's own methods pass the default on, which is to keep them.
        return super().scanner(columns, filter, **{**options, "cache_metadata": False})


def _dataset(files: Iterable[FactsFile], schema: pa.Schema) -> pa.dataset.Dataset:
    local = fs.LocalFileSystem()
    # As everywhere here: a flipped bit is an error, never a value.
    options = pads.ParquetFragmentScanOptions(page_checksum_verification=True)
    kind = pads.ParquetFileFormat(default_fragment_scan_options=options)
    fragments = [kind.make_fragment(file.path, local, partition_expression=_always(file)) for file in files]
    return _Frames(fragments, schema, kind, local)


def _always(file: FactsFile) -> pa.compute.Expression:
    """What holds in every row of a file. What it shares with many others is put together once."""
    own = [_equals(name, getattr(file, name)) for name in _OWN]
    return reduce(operator.and_, own, _all_equal(tuple(getattr(file, name) for name in _SHARED)))


@lru_cache(maxsize=1024)
def _all_equal(values: tuple[str | int | None, ...]) -> pa.compute.Expression:
    return reduce(operator.and_, map(_equals, _SHARED, values))


def _equals(name: str, value: str | int | None) -> pa.compute.Expression:
    return _FIELDS[name].is_null() if value is None else _FIELDS[name] == value


# --- columns ----------------------------------------------------------------------------------------------------


def _schema(path: str | os.PathLike[str], files: Sequence[FactsFile], infos: bool) -> pa.Schema:
    by_kind: dict[bytes, list[FactsFile]] = {}
    for file in files:
        by_kind.setdefault(file.kind, []).append(file)
    keys: list[Fields] = []
    by_columns: dict[Fields, list[FactsFile]] = {}
    for of_kind in by_kind.values():
        opened = [_fields(file) for file in (of_kind if infos else of_kind[:1])]
        keys += [found for _, found in opened if infos]
        by_columns.setdefault(opened[0][0], []).extend(of_kind)
    if len(by_columns) > 1:
        raise ValueError(f"{os.fspath(path)}: {_differ([*by_columns.values()])}")
    (fields,) = by_columns
    return pa.schema([*fields, *_common(keys), *_SAID.items()])


def _fields(file: FactsFile) -> tuple[Fields, Fields]:
    """Columns of the facts, and of the infos."""
    layout = file.layout or read_layout(file.path)
    try:
        return facts_fields(layout), info_fields(layout)
    except (TypeError, ValueError) as error:
        raise EpisodeFileError(file.path, f"not a readable episode: {error}") from error


def _common(infos: Iterable[Fields]) -> Fields:
    """The columns that are of one type, by name."""
    types: dict[str, set[pa.DataType]] = {}
    for name, kind in chain(*infos):
        types.setdefault(name, set()).add(kind)
    return tuple((name, *types[name]) for name in sorted(types) if len(types[name]) == 1)


def _differ(groups: Sequence[Sequence[FactsFile]]) -> str:
    """Why these are no one table, and what to do."""
    for name in ("game", "experiment", "condition", "match"):
        values = [{getattr(file, name) for file in group} for group in groups]
        if len(set[str | None]().union(*values)) == sum(map(len, values)):
            break  # at the latest here: a match is of one game
    ways = [_way(name, some, group) for some, group in zip(values, groups, strict=True)]
    return f"episodes of {len(groups)} games whose columns differ are no one table; give one of {', '.join(ways)}"


def _way(name: str, values: Iterable[str | None], group: Sequence[FactsFile]) -> str:
    named = sorted(filter(None, values))
    shown = repr(named[0] if len(named) == 1 else named) if len(named) <= 3 else f"[{named[0]!r}, ...]"
    games = " and ".join(sorted({file.game for file in group}))
    count = len({(file.match, file.episode) for file in group})
    return f"{name}={shown} ({games}: {count} episode{'s' * (count != 1)})"
