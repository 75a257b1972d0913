"""An episode's files: exports put together again, and a verdict's Parquet files written durably."""

from __future__ import annotations

import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from msgspec import Struct

from rollgym.games.record.columns import prefix
from rollgym.protocol.episode.export import Canonical, Export, Own, content_digest
from rollgym.protocol.episode.export_body import decode_export
from rollgym.protocol.episode.parity import Mismatch
from rollgym.protocol.files.durable import sync_file
from rollgym.protocol.files.parquet import EpisodeFileError, StoredEpisode, read_episode, write_episode
from rollgym.server.record.finding import Finding
from rollgym.server.storage.episode_store import EpisodeStore
from rollgym.server.storage.keys import EpisodeKey, UploadKey
from rollgym.server.storage.rows import MatchRow, UploadRow

CANONICAL = "canonical.parquet"


class Job(Struct, frozen=True):
    """One episode to be judged."""

    store: EpisodeStore
    """Where its uploads are, and where its files go."""
    match: MatchRow
    uploads: tuple[UploadRow, ...]
    """What was received, by player. At least one."""
    own_games: frozenset[str]
    """The games of the server's configuration. Other matches in the folder may be of other games, if built in."""


class UnusableError(Exception):
    """An export that cannot be read, or has no place in a file. Acknowledged all the same: it stays where it is."""

    def __init__(self, player: int, reason: str) -> None:
        super().__init__(player, reason)
        self.player = player
        self.reason = reason

    def __str__(self) -> str:
        return f"the upload of player {self.player} is set aside: {self.reason}"


def load_upload(store: EpisodeStore, row: UploadRow) -> Export:
    """An acknowledged upload: from the inbox, or put together from the dataset if it was judged before."""
    return load(store, UploadKey(row.match, row.episode, row.player))


def load(store: EpisodeStore, key: UploadKey) -> Export:
    """:func:`load_upload` by the upload's key.

    Raises ``OSError``, :class:`~rollgym.protocol.episode.column.ExportError` and :class:`EpisodeFileError`.
    """
    if store.has_upload(key):
        return decode_export(store.upload(key))
    versioned = f"canonical.player_{key.player}.parquet"
    facts = read_file(store, key.of, versioned if versioned in store.files(key.of) else CANONICAL)
    return _reunite(facts, read_file(store, key.of, f"player_{key.player}.parquet"))


def read_file(store: EpisodeStore, key: EpisodeKey, name: str) -> StoredEpisode:
    """A file of an episode. Raises ``OSError`` and :class:`EpisodeFileError`."""
    with store.file(key, name) as path:
        return read_episode(path)


def _reunite(facts: StoredEpisode, mine: StoredEpisode) -> Export:
    assert facts.canonical is not None
    assert mine.own is not None
    header, canonical = mine.header, facts.canonical
    if header.frames != facts.header.frames:
        canonical = prefix(canonical, header.frames)  # partial: the file has the longest of the exports
    return Export(header, canonical, mine.own, content_digest(header, canonical))


def mismatch_fields(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "frame": mismatch.frame,
        "field": mismatch.field,
        "first": mismatch.first[:1024],
        "second": mismatch.second[:1024],
    }


def write_files(job: Job, exports: list[Export], finding: Finding, now: float) -> tuple[str, ...]:
    """Write the files of a finding, each durably, and give their names.

    Raises :class:`UnusableError` for an export that has no place in a file, and ``OSError`` if the disk refuses.
    """
    store = job.store
    extra = provenance(job, exports, finding, now)
    wanted: dict[str, tuple[Export, Canonical | None, Own | None]] = {}
    if finding.verdict == "diverged":
        for export in finding.canonical:
            wanted[f"canonical.player_{export.own.player}.parquet"] = (export, export.canonical, None)
    else:
        wanted[CANONICAL] = (finding.canonical[0], finding.canonical[0].canonical, None)
    for export in exports:
        wanted[f"player_{export.own.player}.parquet"] = (export, None, export.own)
    key = EpisodeKey(job.match.id, finding.canonical[0].header.episode)
    written: dict[str, Path] = {}
    try:
        for name, (export, canonical, own) in wanted.items():
            written[name] = temporary = store.new_temporary()
            try:
                write_episode(temporary, export.header, canonical, own, extra)
            except EpisodeFileError as error:
                raise UnusableError(export.own.player, error.reason) from error
            sync_file(temporary)
        for name, temporary in written.items():
            store.put_file(key, name, temporary)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return tuple(wanted)


def provenance(job: Job, exports: list[Export], finding: Finding, now: float) -> dict[str, str]:
    """What every file of the episode says about where it comes from."""
    match = job.match
    return {
        "experiment": match.experiment,
        "condition": match.condition,
        "config_hash": match.config_hash,
        "match_number": "" if match.number is None else str(match.number),
        "match_created": repr(match.created),
        "verdict": finding.verdict,
        "verdict_detail": finding.detail,
        "mismatch": "" if finding.mismatch is None else json.dumps(mismatch_fields(finding.mismatch)),
        "judged": repr(now),
        "received": json.dumps({str(row.player): row.received for row in job.uploads}),
        "digests": json.dumps({str(row.player): row.digest.hex() for row in job.uploads}),
        "statuses": json.dumps({str(row.player): row.status for row in job.uploads}),
        "played": json.dumps({str(e.own.player): [e.own.started_at, e.own.ended_at] for e in exports}),
        "bots": json.dumps({str(e.own.player): str(e.own.policy.get("name", ""))[:128] for e in exports}),
        "client_software": json.dumps(match.software),
        "server_software": json.dumps(server_software()),
    }


PACKAGES = (
    *("rollgym", "gymnasium", "numpy", "pyarrow", "msgpack", "msgspec", "xxhash", "blake3"),
    *("pettingzoo", "cogrid", "mpe2", "slimevb", "lbforaging", "rware", "mujoco"),
    *("overcooked-ai", "highway-env", "multigrid", "open-spiel", "shimmy"),
)
"""What the facts of an episode, their encoding and their digests depend on, as far as it is installed."""


@cache
def server_software() -> dict[str, str]:
    """Versions of what judged and wrote the files. To be read only."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an optional extra, or a checkout that is not installed
            continue
    return found
