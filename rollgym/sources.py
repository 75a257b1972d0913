"""Which episode files there are at a path, and which of them are wanted. Reads metadata only, one file at a time."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rollgym.protocol.parquet import Layout, read_layout

VERDICTS = ("verified", "diverged", "single", "partial")
"""What a server may say of an episode."""


class Source(NamedTuple):
    """One version of one episode: a file with its facts, and where players' own parts are."""

    path: Path
    layout: Layout
    """Of ``path``. It has a canonical part."""
    own: Mapping[int, Path]
    """By player. ``path`` itself, if a peer wrote it; the files beside it, if the server did."""

    @property
    def verdict(self) -> str | None:
        """The server's, or None: a peer's file has none."""
        return self.layout.extra.get("verdict")

    @property
    def writer(self) -> int | None:
        """Whose version it is, or None: what all players agree on."""
        if self.layout.own is not None:
            return self.layout.own.player
        found = self.path.stem.rpartition("canonical.player_")[2]
        return int(found) if found != self.path.stem and found.isdecimal() else None


@dataclass(frozen=True)
class Wanted:
    """Which episodes. None: whatever it is."""

    match: Collection[str] | None = None
    verdict: Collection[str] | None = None
    condition: Collection[str] | None = None
    experiment: Collection[str] | None = None

    def takes(self, layout: Layout) -> bool:
        """Whether a file of this metadata is wanted. What a file does not say is never wanted."""
        said = {"match": layout.header.match, **layout.extra}
        for name in ("match", "verdict", "condition", "experiment"):
            values = getattr(self, name)
            if values is not None and said.get(name) not in values:
                return False
        return True


def one_or_more(value: str | Collection[str] | None) -> Collection[str] | None:
    """A filter's value as a collection."""
    return (value,) if isinstance(value, str) else value


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
    """The episodes at ``path`` that are wanted, in order of their names. Files of one's own part only are no episodes.

    Raises ``FileNotFoundError`` at once, and :class:`~rollgym.protocol.parquet.EpisodeFileError` on the way.
    """
    return _sources(parquet_files(path), wanted or Wanted())


def _sources(files: list[Path], wanted: Wanted) -> Iterator[Source]:
    for file in files:
        layout = read_layout(file)
        if layout.canonical is not None and wanted.takes(layout):
            yield Source(file, layout, _own_files(file, layout))


def _own_files(file: Path, layout: Layout) -> dict[int, Path]:
    if layout.own is not None:
        return {layout.own.player: file}
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
