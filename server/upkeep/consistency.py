"""Do a data folder's catalogue and files say the same? For a folder that no server uses at the moment.

Stricter than the look that every start takes (``rollgym.server.upkeep.recovery``): every byte of every acknowledged
upload is put together again and compared with the hash of what was acknowledged. Reads only.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from blake3 import blake3
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import content_digest
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.files.parquet import EpisodeFileError, read_episode
from rollgym.server.record.verdicts import CANONICAL, load_upload
from rollgym.server.storage import queries
from rollgym.server.storage.catalogue import EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.queries import copy_in_memory
from rollgym.server.storage.store import Store


class Problem(Struct, frozen=True):
    """Something that is not as the catalogue says."""

    place: str
    """Path inside the folder."""
    detail: str
    mended: bool = False
    """A kill may leave it so: it was never acknowledged, or the next start of the server brings it in order."""


class Content(Struct, frozen=True):
    """What a folder holds and what is wrong with it."""

    matches: list[MatchRow]
    uploads: list[UploadRow]
    episodes: list[EpisodeRow]
    problems: list[Problem]


async def inspect(root: Path) -> Content:
    """Everything in a data folder. Raises :class:`~rollgym.server.errors.ServerError` for a catalogue that is none."""
    return await asyncio.to_thread(_inspect, Store(root))


def _inspect(store: Store) -> Content:
    with closing(copy_in_memory(store.catalogue)) as copy:
        uploads, episodes = queries.uploads(copy), queries.episodes(copy)
        named = {row.match for row in uploads} | {row.match for row in episodes}
        matches = {row.id: row for row in queries.matches(copy) if row.ended is None or row.id in named}
    problems = _problems(store, matches, uploads, episodes)
    return Content(list(matches.values()), uploads, episodes, problems)


def _problems(
    store: Store, matches: dict[str, MatchRow], uploads: list[UploadRow], episodes: list[EpisodeRow]
) -> list[Problem]:
    found = _Found(store)
    grouped: dict[tuple[str, int], list[UploadRow]] = defaultdict(list)
    for upload in uploads:
        grouped[upload.match, upload.episode].append(upload)
        if upload.match not in matches:
            found.add(
                store.inbox_path(upload.match, upload.episode, upload.player), "its match is not in the catalogue"
            )
        _check_upload(found, upload)
    for episode in episodes:
        _check_episode(found, episode, grouped.get(_key(episode), []))
    _check_leftovers(found, matches, uploads, episodes)
    return found.problems


class _Found:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.problems: list[Problem] = []

    def add(self, path: Path, detail: str, *, mended: bool = False) -> None:
        self.problems.append(Problem(str(path.relative_to(self.store.root)), detail, mended))


def _key(episode: EpisodeRow) -> tuple[str, int]:
    return episode.match, episode.episode


def _check_upload(found: _Found, row: UploadRow) -> None:
    """The upload can be put together again, bit for bit."""
    path = found.store.inbox_path(row.match, row.episode, row.player)
    try:
        body = path.read_bytes() if path.is_file() else encode_export(load_upload(found.store, row))
    except (OSError, ExportError, EpisodeFileError) as error:
        found.add(path, f"acknowledged, and not to be had any more: {error}")
        return
    if (blake3(body).digest(), len(body)) != (row.body_hash, row.bytes):
        found.add(path, f"{len(body)} bytes that are not the {row.bytes} which were acknowledged")


def _check_episode(found: _Found, row: EpisodeRow, uploads: list[UploadRow]) -> None:
    """The files of a verdict are the ones it names, whole, and about the same."""
    folder = found.store.episode_folder(row.match, row.episode)
    have = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(have - set(row.files)):
        found.add(folder / name, "the verdict does not name it", mended=True)
    for name in row.files:
        try:
            stored = read_episode(folder / name)
        except (OSError, EpisodeFileError) as error:
            found.add(folder / name, str(error))
            continue
        if stored.extra.get("verdict") != row.verdict:
            # A later upload led to new files, and a kill came before the new verdict was in the catalogue.
            late = bool({upload.player for upload in uploads} - set(row.players))
            detail = f"says {stored.extra.get('verdict')}, the catalogue {row.verdict}"
            found.add(folder / name, detail, mended=late)
            continue
        if (stored.header.match, stored.header.episode, stored.header.seed) != (row.match, row.episode, row.seed):
            found.add(folder / name, "is about another episode")
        if name == CANONICAL and (
            stored.canonical is None or content_digest(stored.header, stored.canonical) != row.digest
        ):
            found.add(folder / name, "has another content than the verdict is about")
    missing = {upload.player for upload in uploads} - set(row.players)
    for player in sorted(missing):
        found.add(folder, f"the upload of player {player} is not judged yet", mended=True)


def _check_leftovers(
    found: _Found, matches: dict[str, MatchRow], uploads: list[UploadRow], episodes: list[EpisodeRow]
) -> None:
    store = found.store
    known = {(row.match, row.episode, row.player) for row in uploads}
    uploaded = {key[:2] for key in known}
    judged = {_key(row): set(row.players) for row in episodes}
    for path in store.strange_files():
        found.add(path, "no upload has such a name")
    for file in store.inbox_files():
        key = (file.match, file.episode, file.player)
        if key not in known:
            try:
                decode_export(file.path.read_bytes())
                found.add(file.path, "whole, and never acknowledged", mended=file.match in matches)
            except ExportError as error:
                found.add(file.path, f"half an upload has a final name: {error}")
        elif file.player in judged.get(key[:2], ()):
            found.add(file.path, "judged, and still in the inbox", mended=True)
    for match, episode, path in store.episode_folders():
        if (match, episode) not in judged:
            found.add(path, "files without a verdict", mended=(match, episode) in uploaded)
    for unjudged in sorted(uploaded - set(judged)):
        found.add(store.episode_folder(*unjudged), "uploads without a verdict", mended=True)
    for path in store.temporary.iterdir() if store.temporary.is_dir() else ():
        found.add(path, "a file that was being written", mended=True)
    for row in matches.values():
        if row.ended is None:
            found.add(store.catalogue, f"match {row.id} was never ended", mended=True)
