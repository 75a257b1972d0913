"""Do a data folder's catalogue and files say the same? For a folder that no server uses at the moment.

Stricter than the look that every start takes (``rollgym.server.upkeep.recovery``): every byte of every acknowledged
upload is put together again and compared with the hash of what was acknowledged. Reads only.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from blake3 import blake3
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import content_digest
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.files.parquet import EpisodeFileError
from rollgym.server.record.episode_files import CANONICAL, load, read_file
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.keys import EpisodeKey, UploadKey
from rollgym.server.storage.record import catalogue_copy, catalogue_of, embedded
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow


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
    return await asyncio.to_thread(_inspect, embedded(root).store, catalogue_of(root))


def _inspect(store: EpisodeStore, catalogue: Path) -> Content:
    with catalogue_copy(catalogue) as copy:
        uploads, episodes = copy.uploads(), copy.episodes()
        named = {row.match for row in uploads} | {row.match for row in episodes}
        matches = {row.id: row for row in copy.matches() if row.ended is None or row.id in named}
    problems = _problems(store, matches, uploads, episodes)
    problems += [
        Problem(catalogue.name, f"match {row.id} was never ended", mended=True)
        for row in matches.values()
        if row.ended is None
    ]
    return Content(list(matches.values()), uploads, episodes, problems)


def _problems(
    store: EpisodeStore, matches: dict[str, MatchRow], uploads: list[UploadRow], episodes: list[EpisodeRow]
) -> list[Problem]:
    found = _Found(store)
    grouped: dict[EpisodeKey, list[UploadRow]] = defaultdict(list)
    for upload in uploads:
        grouped[_key(upload).of].append(upload)
        if upload.match not in matches:
            found.add(store.upload_place(_key(upload)), "its match is not in the catalogue")
        _check_upload(found, upload)
    for episode in episodes:
        _check_episode(found, episode, grouped.get(EpisodeKey(episode.match, episode.episode), []))
    _check_leftovers(found, matches, uploads, episodes)
    return found.problems


class _Found:
    def __init__(self, store: EpisodeStore) -> None:
        self.store = store
        self.problems: list[Problem] = []

    def add(self, place: str, detail: str, *, mended: bool = False) -> None:
        self.problems.append(Problem(place, detail, mended))


def _key(upload: UploadRow) -> UploadKey:
    return UploadKey(upload.match, upload.episode, upload.player)


def _check_upload(found: _Found, row: UploadRow) -> None:
    """The upload can be put together again, bit for bit."""
    store, key = found.store, _key(row)
    place = store.upload_place(key)
    try:
        body = store.upload(key) if store.has_upload(key) else encode_export(load(store, key))
    except (OSError, ExportError, EpisodeFileError) as error:
        found.add(place, f"acknowledged, and not to be had any more: {error}")
        return
    if (blake3(body).digest(), len(body)) != (row.body_hash, row.bytes):
        found.add(place, f"{len(body)} bytes that are not the {row.bytes} which were acknowledged")


def _check_episode(found: _Found, row: EpisodeRow, uploads: list[UploadRow]) -> None:
    """The files of a verdict are the ones it names, whole, and about the same."""
    store, key = found.store, EpisodeKey(row.match, row.episode)
    for name in store.files(key):
        if name not in row.files:
            found.add(store.file_place(key, name), "the verdict does not name it", mended=True)
    for name in row.files:
        place = store.file_place(key, name)
        try:
            stored = read_file(store, key, name)
        except (OSError, EpisodeFileError) as error:
            found.add(place, str(error))
            continue
        if stored.extra.get("verdict") != row.verdict:
            # A later upload led to new files, and a kill came before the new verdict was in the catalogue.
            late = bool({upload.player for upload in uploads} - set(row.players))
            detail = f"says {stored.extra.get('verdict')}, the catalogue {row.verdict}"
            found.add(place, detail, mended=late)
            continue
        if (stored.header.match, stored.header.episode, stored.header.seed) != (row.match, row.episode, row.seed):
            found.add(place, "is about another episode")
        if name == CANONICAL and (
            stored.canonical is None or content_digest(stored.header, stored.canonical) != row.digest
        ):
            found.add(place, "has another content than the verdict is about")
    missing = {upload.player for upload in uploads} - set(row.players)
    for player in sorted(missing):
        found.add(store.file_place(key), f"the upload of player {player} is not judged yet", mended=True)


def _check_leftovers(
    found: _Found, matches: dict[str, MatchRow], uploads: list[UploadRow], episodes: list[EpisodeRow]
) -> None:
    store = found.store
    known = {_key(row) for row in uploads}
    uploaded = {key.of for key in known}
    judged = {EpisodeKey(row.match, row.episode): set(row.players) for row in episodes}
    for place in store.strangers():
        found.add(place, "no upload has such a name")
    for key in store.uploads():
        if key not in known:
            try:
                decode_export(store.upload(key))
                found.add(store.upload_place(key), "whole, and never acknowledged", mended=key.match in matches)
            except ExportError as error:
                found.add(store.upload_place(key), f"half an upload has a final name: {error}")
        elif key.player in judged.get(key.of, ()):
            found.add(store.upload_place(key), "judged, and still in the inbox", mended=True)
    for episode in store.episodes():
        if episode not in judged:
            found.add(store.file_place(episode), "files without a verdict", mended=episode in uploaded)
    for unjudged in sorted(uploaded - set(judged)):
        found.add(store.file_place(unjudged), "uploads without a verdict", mended=True)
    for place in store.unfinished():
        found.add(place, "a file that was being written", mended=True)
