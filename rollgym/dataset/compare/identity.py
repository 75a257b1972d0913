"""Which episode a file is of, and whose: by what it says of itself, else by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rollgym.dataset.compare.forms import EPISODE, FRAME, MATCH, form_of, sidecar_provenance
from rollgym.dataset.compare.text_files import first_row, is_text_file, stem_of
from rollgym.dataset.tables import METADATA, metadata_json
from rollgym.protocol.files.parquet import EpisodeFileError, Layout, read_layout, read_schema

_EPISODE = re.compile(r"episode_(\d+)(?:\.player_(\d+))?")
_CANONICAL = re.compile(r"canonical(?:\.player_(\d+))?")
_SUBJECT = re.compile(r"(?P<subject>.+)_ep(?P<episode>\d+)")
"""Multi-User Gymnasium's files: one for each subject and episode."""


class FileIdentity(NamedTuple):
    """What two files have in common if they belong together."""

    match: str
    """The match's id; a folder's name if the file does not say; empty where it makes no difference."""
    episode: str
    """Its number, or the file's name if it does not say."""
    player: str | None
    """Whose version it is. None: what all agree on."""
    seed: int | None = None
    """Of the match, if the file says it."""


def identify(path: Path, root: Path) -> FileIdentity | None:
    """What a file below ``root`` is; None for one without facts.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for one that cannot be read.
    """
    named = _by_name(path, root)
    form = form_of(path)
    if form == "episode":
        layout = read_layout(path)
        if layout.canonical is None:
            return None  # one peer's own part, which rightly differs
        return _of_layout(layout, named)
    said: Mapping[str, Any] = (sidecar_provenance(path) if is_text_file(path) else _provenance(path)) or {}
    if not said and is_text_file(path):
        row = _first_row(path)
        said = {"match": row[MATCH]} if MATCH in row else {}
        if EPISODE in row and named.episode == stem_of(path):
            return named  # a file of its own name, maybe of several episodes
    match, episode, seed = said.get("match"), said.get("episode"), said.get("match_seed")
    return FileIdentity(
        str(match) if match is not None else named.match,
        str(episode) if episode is not None else named.episode,
        named.player,
        seed if isinstance(seed, int) else None,
    )


def _first_row(path: Path) -> dict[str, str]:
    try:
        return first_row(path, FRAME)
    except (ValueError, OSError) as error:
        raise EpisodeFileError(path, f"not a readable episode: {error}") from error


def _of_layout(layout: Layout, named: FileIdentity) -> FileIdentity:
    player = named.player if layout.own is None else str(layout.own.player)
    header = layout.header
    return FileIdentity(header.match, str(header.episode), player, header.match_seed)


def _provenance(path: Path) -> Mapping[str, Any] | None:
    try:
        return metadata_json((read_schema(path).metadata or {}).get(METADATA))
    except ValueError as error:
        raise EpisodeFileError(path, f"its provenance is no JSON: {error}") from error


def _by_name(path: Path, root: Path) -> FileIdentity:
    # With the root's own name: it may be the episode's. Exports have the game's above the match's.
    folder = Path(root.resolve().name, path.relative_to(root)).parts[:-1]
    stem = stem_of(path)
    match = _EPISODE.fullmatch(stem)
    if match is not None:
        return FileIdentity(_match_of(folder), str(int(match[1])), match[2])
    match = _CANONICAL.fullmatch(stem)
    if match is not None:
        above = _EPISODE.fullmatch(folder[-1]) if folder else None
        return FileIdentity(_match_of(folder[:-1]), str(int(above[1])) if above else "", match[1])
    match = _SUBJECT.fullmatch(stem)
    if match is not None:
        return FileIdentity(_match_of(folder), str(int(match["episode"])), match["subject"])
    return FileIdentity(_match_of(folder), stem, None)


def _match_of(folder: tuple[str, ...]) -> str:
    return "".join(folder[1:][-1:])
