"""A catalogue made anew from the files, for a folder whose own one is lost or damaged.

The files of an episode say of themselves what the catalogue has of it: match, players, verdict, what was received. What
no file says is not made up: :data:`UNKNOWN` lists it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from pathlib import Path

import msgspec
from blake3 import blake3
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Export, Header, content_digest
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.files.durable import sync_folder
from rollgym.protocol.files.episode_players import episode_player
from rollgym.protocol.files.parquet import EpisodeFileError, StoredEpisode
from rollgym.server.record.episode_files import CANONICAL, load, read_file
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.keys import EpisodeKey, UploadKey
from rollgym.server.storage.record import catalogue_of, embedded
from rollgym.server.storage.rows import NO_LABEL, EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue

UNKNOWN = (
    "when and why matches ended and players left: the server ends all of them again when it starts",
    "the players' tickets: what waits in a player's spool for one of these matches cannot be uploaded any more",
    "which server's process played a match",
    "matches of which nothing was received, matches that were annulled, uploads that were refused, and conflicts",
)
"""What the files do not say."""


class Skipped(Struct, frozen=True):
    """A file that tells nothing. It is left where it is."""

    place: str
    """Path inside the folder."""
    detail: str


class Rebuilt(Struct, frozen=True):
    """What a rebuilt catalogue holds."""

    matches: int
    uploads: int
    episodes: int
    unlabelled: int
    """Matches whose experiment and condition no file says."""
    skipped: list[Skipped]
    before: str | None
    """Name of the file that has the catalogue of before, if there was one."""


class _Found:
    """What the files say."""

    def __init__(self) -> None:
        self.matches: dict[str, MatchRow] = {}
        self.uploads: dict[UploadKey, UploadRow] = {}
        self.episodes: dict[EpisodeKey, EpisodeRow] = {}
        self.skipped: list[Skipped] = []


async def rebuild(root: Path) -> Rebuilt:
    """Make the catalogue of a data folder anew. The one that is there is renamed, and nothing else is changed.

    Raises :class:`~rollgym.server.errors.ServerError` if the folder is not usable, or in use, and ``OSError`` if the
    disk refuses.
    """
    store, place = embedded(root).store, catalogue_of(root)
    await asyncio.to_thread(store.open, 0)
    try:
        found = await asyncio.to_thread(_look, store)
        new = place.with_name(f"{place.name}.{secrets.token_hex(4)}.new")
        try:
            await _write(new, found)
            before = await asyncio.to_thread(_put_in_place, new, place)
        finally:
            new.unlink(missing_ok=True)
    finally:
        store.close()
    unlabelled = sum(row.experiment == NO_LABEL for row in found.matches.values())
    return Rebuilt(len(found.matches), len(found.uploads), len(found.episodes), unlabelled, found.skipped, before)


async def _write(path: Path, found: _Found) -> None:
    catalogue = SqliteCatalogue(path)
    try:
        for row in found.matches.values():
            unknown = tuple(secrets.token_bytes(32) for _ in row.participants)
            await catalogue.add_match(row, unknown)
        for upload in found.uploads.values():
            await catalogue.add_upload(upload)
        for episode in found.episodes.values():
            await catalogue.set_verdict(episode)
    finally:
        await asyncio.to_thread(catalogue.close)


def _put_in_place(new: Path, final: Path) -> str | None:
    before = None
    if final.exists():
        number = 1
        while (aside := final.with_name(f"{final.name}.before-{number}")).exists():
            number += 1
        before = aside.name
        for suffix in ("-wal", "-shm", ""):  # of one database: with another one beside it they would be taken for its
            part = final.with_name(final.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    else:
        for suffix in ("-wal", "-shm"):
            final.with_name(final.name + suffix).unlink(missing_ok=True)
    new.replace(final)
    sync_folder(final.parent)
    return before


# --- what the files say -----------------------------------------------------------------------------------------


def _look(store: EpisodeStore) -> _Found:
    found = _Found()
    for key in store.episodes():
        try:
            _take_files(store, found, key)
        except (EpisodeFileError, ExportError, OSError, ValueError, KeyError, TypeError) as error:
            found.skipped.append(Skipped(store.file_place(key), f"{type(error).__name__}: {error}"[:500]))
    for upload in store.uploads():
        try:
            _take_upload(store, found, upload)
        except (ExportError, OSError, ValueError) as error:
            found.skipped.append(Skipped(store.upload_place(upload), str(error)[:500]))
    _number(found)
    return found


def _take_files(store: EpisodeStore, found: _Found, key: EpisodeKey) -> None:
    files = {name: read_file(store, key, name) for name in store.files(key) if name.endswith(".parquet")}
    if not files:
        raise ValueError("no file of an episode in it")
    newest = max(float(stored.extra["judged"]) for stored in files.values())
    # A kill may have left files of an earlier verdict.
    files = {name: stored for name, stored in files.items() if float(stored.extra["judged"]) == newest}
    facts = {name: stored for name, stored in files.items() if stored.canonical is not None}
    own = {stored.own.player: name for name, stored in files.items() if stored.own is not None}
    if not facts or not own:
        raise ValueError("the canonical part or the players' own parts are missing")
    first = facts[CANONICAL] if CANONICAL in facts else facts[min(facts, key=_player_of)]
    header, extra = first.header, first.extra
    if (header.match, header.episode) != key:
        raise ValueError(f"says that it is episode {header.episode} of match {header.match!r}")
    row = _match_of(header, extra)
    uploads = [
        _upload_of(load(store, UploadKey(*key, player)), float(json.loads(extra["received"])[str(player)]))
        for player in sorted(own)
    ]
    assert first.canonical is not None
    found.matches[row.id] = row
    for upload in uploads:
        found.uploads[UploadKey(upload.match, upload.episode, upload.player)] = upload
    found.episodes[key] = EpisodeRow(
        *key,
        extra["verdict"],
        extra["verdict_detail"],
        tuple(sorted(own)),
        header.frames,
        header.status,
        header.seed,
        content_digest(header, first.canonical),
        json.loads(extra["mismatch"]) if extra["mismatch"] else None,
        (*sorted(facts, key=_player_of), *(own[player] for player in sorted(own))),
        newest,
        tuple(_counted(files, own, player) for player in sorted(own)),
    )


def _counted(files: dict[str, StoredEpisode], own: dict[int, str], player: int) -> EpisodePlayerRow:
    """From the facts that the verdict is about: a player's own version of them, if they diverged."""
    facts = files.get(CANONICAL) or files[f"canonical.player_{player}.parquet"]
    mine = files[own[player]].own
    assert facts.canonical is not None
    assert mine is not None
    return episode_player(facts.header, facts.canonical, mine)


def _player_of(name: str) -> int:
    """The player in ``canonical.player_1.parquet``; -1 for all of them."""
    return -1 if name == CANONICAL else int(name.removeprefix("canonical.player_").removesuffix(".parquet"))


def _match_of(header: Header, extra: dict[str, str]) -> MatchRow:
    software: list[dict[str, str]] = json.loads(extra["client_software"])
    return MatchRow(
        header.match,
        extra["experiment"],
        extra["condition"],
        extra["config_hash"],
        header.match_seed,
        header.game,
        header.settings,
        header.participants,
        tuple(software),
        float(extra["match_created"]),
        number=int(extra["match_number"]) if extra.get("match_number") else None,
    )


def _upload_of(export: Export, received: float) -> UploadRow:
    body, header = encode_export(export), export.header
    hashed = blake3(body).digest()
    return UploadRow(
        header.match,
        header.episode,
        export.own.player,
        hashed,
        export.digest,
        len(body),
        header.frames,
        header.status,
        received,
    )


def _take_upload(store: EpisodeStore, found: _Found, key: UploadKey) -> None:
    export = decode_export(store.upload(key))
    header = export.header
    if (header.match, header.episode, export.own.player) != key:
        raise ValueError("is about another upload than its name says")
    received = store.received(key)
    known = found.matches.get(key.match)
    if known is None:
        players: tuple[dict[str, str], ...] = tuple({} for _ in header.participants)
        found.matches[key.match] = MatchRow(
            key.match,
            NO_LABEL,
            NO_LABEL,
            "",
            header.match_seed,
            header.game,
            header.settings,
            header.participants,
            players,
            received,
        )
    elif not _agrees(known, header):
        raise ValueError("does not agree with its match's other files")
    # What is in the dataset already was received earlier: the next start of the server removes the file.
    found.uploads.setdefault(key, _upload_of(export, received))


def _agrees(row: MatchRow, header: Header) -> bool:
    one = (row.seed, row.participants, row.game, row.settings)
    return one == (header.match_seed, header.participants, header.game, header.settings)


def _number(found: _Found) -> None:
    """Files of earlier versions do not say which match they are of: their numbers go on after those that are known.

    Last come matches whose experiment is not known: they could be of any.
    """
    following: dict[tuple[str, str], int] = defaultdict(int)
    for row in found.matches.values():
        if row.number is not None:
            name = row.experiment, row.condition
            following[name] = max(following[name], row.number + 1)
    for row in sorted(found.matches.values(), key=lambda row: (row.experiment == NO_LABEL, row.created, row.id)):
        name = row.experiment, row.condition
        if row.number is None:
            number = max(following.values(), default=0) if row.experiment == NO_LABEL else following[name]
            found.matches[row.id] = msgspec.structs.replace(row, number=number)
            following[name] = number + 1
