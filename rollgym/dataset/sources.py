"""Which episode files there are at a path, and which of them are wanted. Reads metadata only, one file at a time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from rollgym.dataset.filters import FILTERS, Wanted
from rollgym.protocol.files.parquet import Footer, Layout, read_footer, read_layout


class Source(NamedTuple):
    """One version of one episode: a file with its facts, and where players' own parts are."""

    path: Path
    layout: Layout
    """Of ``path``. It has a canonical part."""
    own: Mapping[int, Path]
    """By player. If peers wrote it, ``path`` itself and the others' files of the same facts; the files beside it, if
    the server did."""

    @property
    def episode(self) -> tuple[str, int]:
        """Its match and its number there."""
        return self.layout.header.match, self.layout.header.episode

    @property
    def verdict(self) -> str | None:
        """The server's, or None: a peer's file has none."""
        return self.layout.extra.get("verdict")

    @property
    def writer(self) -> int | None:
        """Whose version it is, or None: what all players agree on, or several at least."""
        if self.layout.own is not None:
            return self.layout.own.player if len(self.own) == 1 else None
        found = self.path.stem.rpartition("canonical.player_")[2]
        return int(found) if found != self.path.stem and found.isdecimal() else None


def said_of(layout: Layout) -> dict[str, str | None]:
    """What a file says of itself that one can filter by."""
    header = layout.header
    said = {**layout.extra, "match": header.match, "game": header.game.id, "status": header.status}
    return {name: said.get(name) for name in FILTERS}


def parquet_files(path: str | os.PathLike[str]) -> list[Path]:
    """The Parquet files at ``path``, by name: itself, a data folder's dataset, or all below any other folder.

    Raises ``FileNotFoundError`` if there is no such path.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such file or folder")
    dataset = root / "episodes"
    return sorted((dataset if dataset.is_dir() else root).rglob("*.parquet"))


def sources(path: str | os.PathLike[str], wanted: Wanted | None = None) -> Iterator[Source]:
    """The episodes at ``path`` that are wanted, in order of their names. Files of one's own part only are no episodes;
    files of several peers side by side that hold the same facts are one episode, unless one of them is asked for.

    Raises ``FileNotFoundError`` at once, and :class:`~rollgym.protocol.files.parquet.EpisodeFileError` on the way.
    """
    return (found.source for found in _opened(parquet_files(path), wanted or Wanted(), alone=Path(path).is_file()))


class Opened(NamedTuple):
    """A source, and what is needed to read its rows without a second look at its metadata."""

    source: Source
    footer: Footer


def episode_sources(path: str | os.PathLike[str], wanted: Wanted) -> Iterator[Source]:
    """:func:`sources`, where there have to be some that are wanted. Raises what :func:`opened_sources` raises."""
    return (found.source for found in opened_sources(path, wanted))


def opened_sources(path: str | os.PathLike[str], wanted: Wanted) -> Iterator[Opened]:
    """:func:`sources` to be read at once, of which there has to be one.

    Raises, at once, ``FileNotFoundError`` if there is no such path or no file there,
    :class:`~rollgym.dataset.filters.NoSuchEpisodeError` if none is wanted, and what :func:`sources` raises up to the
    first that is.
    """
    files, alone = parquet_files(path), Path(path).is_file()
    if not files:
        raise FileNotFoundError(f"{path}: no episodes in it")
    found = _opened(files, wanted, alone=alone)
    if not wanted.given():
        return found
    first = next(found, None)
    if first is None:
        there = _opened(files, Wanted(), alone=alone)
        raise wanted.why_none(path, [said_of(other.source.layout) for other in there])
    return chain([first], found)


def _opened(files: list[Path], wanted: Wanted, *, alone: bool) -> Iterator[Opened]:
    # Beside a file of a server's, these are players' own parts: to find that out from each would cost more than to
    # read the episode.
    served = {file.parent for file in files if file.name.startswith("canonical.")}
    for file in files:
        if file.parent in served and _OWN_PART.fullmatch(file.name):
            continue
        footer = read_footer(file)
        layout = footer.layout
        if layout.canonical is None or not wanted.takes(said_of(layout)):
            continue
        if layout.own is None:
            yield Opened(Source(file, layout, _own_files(file, layout)), footer)
            continue
        own = {layout.own.player: file} if alone else _same_facts(file, layout)
        if min(own) == layout.own.player:  # otherwise it came with the file of a player before
            yield Opened(Source(file, layout, own), footer)


_OWN_PART = re.compile(r"player_\d+\.parquet")
_PEER = re.compile(r"(.+)\.player_(\d+)")


def _same_facts(file: Path, layout: Layout) -> dict[int, Path]:
    """By player, the files of an episode that peers wrote side by side and that have the same facts as this one."""
    assert layout.own is not None
    found = {layout.own.player: file}
    name = _PEER.fullmatch(file.stem)
    if name is None or name[2] != str(layout.own.player):
        return found
    for player in range(len(layout.header.participants)):
        beside = file.with_name(f"{name[1]}.player_{player}{file.suffix}")
        if player not in found and beside.is_file():
            other = read_layout(beside)
            if other.own is not None and other.own.player == player and _facts(other) == _facts(layout):
                found[player] = beside
    return dict(sorted(found.items()))


def _facts(layout: Layout) -> tuple[object, ...]:
    """What two files of the same facts have in common. The digest is over all of them; without one none is the same."""
    digests = layout.extra.get("digests")
    try:
        values = None if digests is None else frozenset(json.loads(digests).values())
    except (ValueError, AttributeError, TypeError):
        values = None
    return (layout.header.match, layout.header.episode, values or object())


def _own_files(file: Path, layout: Layout) -> dict[int, Path]:
    """Players' own parts beside a file of the server's."""
    if not file.name.startswith("canonical."):
        return {}
    found = {}
    versions = range(len(layout.header.participants))
    only = file.stem.rpartition("canonical.player_")[2]
    for player in versions:
        beside = file.with_name(f"player_{player}.parquet")
        if (only == file.stem or only == str(player)) and beside.is_file():
            found[player] = beside
    return found
