"""The client's own copies of its exports, as Parquet files that ``rollgym compare`` and ``rollgym.load`` read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from rollgym.protocol.episode.export import Export
from rollgym.protocol.files import durable
from rollgym.protocol.files.parquet import write_episode

_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class NotKeptError(OSError):
    """A copy could not be written; the text says why. The export itself is in the spool or at the server."""


def make_folder(folder: Path) -> None:
    """Make sure, before play begins, that copies can be kept there. Raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink(missing_ok=True)


def path_of(export: Export, folder: Path) -> Path:
    """``FOLDER/<match>/episode_000.player_0.parquet``. A match name that is no plain file name is hashed."""
    match = export.header.match
    if not _SAFE.fullmatch(match):
        match = blake2b(match.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return folder / match / f"episode_{export.header.episode:03d}.player_{export.own.player}.parquet"


def proof(export: Export) -> dict[str, str]:
    """What a file of a peer's says beside the export itself: the digest, in the form the server's files have it."""
    return {"digests": json.dumps({str(export.own.player): export.digest.hex()})}


def keep_export(export: Export, folder: Path, said: Mapping[str, str] | None = None) -> Path:
    """Write an export below ``folder``: under a temporary name, synced, then renamed. Returns where.

    ``said``: what else the file shall say of where it comes from.

    Raises ``OSError`` if the disk refuses and :class:`rollgym.protocol.files.parquet.EpisodeFileError` for what has no
    place in a file.
    """
    path = path_of(export, folder)
    durable.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_episode(temporary, export.header, export.canonical, export.own, {**(said or {}), **proof(export)})
        durable.sync_file(temporary)
        durable.publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
