"""Is an upload what it should be. Runs in a worker process, on a file; nothing in the file is trusted."""

from __future__ import annotations

from pathlib import Path

import msgspec
from blake3 import blake3
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import MAX_FRAMES, Export, Header
from rollgym.protocol.episode.export_body import decode_export
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.files.durable import sync_file
from rollgym.protocol.files.parquet import EpisodeFileError, check_storable
from rollgym.protocol.messages import Difference, first_difference
from rollgym.protocol.seeds import episode_seed
from rollgym.server.errors import RefusedError
from rollgym.server.storage.rows import MatchRow, UploadRow


class Expected(Struct, frozen=True):
    """What the server knows of an upload before it is opened."""

    match: MatchRow
    episode: int
    player: int
    episode_frames: int


class Checked(Struct, frozen=True):
    """A good upload; its file has been synced."""

    body_hash: bytes
    """BLAKE3 of the body without content encoding."""
    digest: bytes
    bytes: int
    frames: int
    status: str

    def row(self, expected: Expected, at: float) -> UploadRow:
        """The upload's row in the catalogue. ``at``: when it was taken, in Unix seconds."""
        return UploadRow(
            expected.match.id,
            expected.episode,
            expected.player,
            self.body_hash,
            self.digest,
            self.bytes,
            self.frames,
            self.status,
            at,
        )


def check_upload(path: Path, expected: Expected) -> Checked:
    """Check an upload's file (the body without content encoding; the caller bounds its size) and sync it.

    Raises :class:`RefusedError`: 400 for what breaks the schema or has no place in the dataset's files, 403 for another
    player's part, 422 for what does not belong to this match, 413 for too many frames. ``OSError`` if the disk refuses.
    """
    body = path.read_bytes()
    export = _decode(body)
    check_belongs(export, expected)
    _check_storable(export)
    sync_file(path)
    header = export.header
    return Checked(blake3(body).digest(), export.digest, len(body), header.frames, header.status)


def check_belongs(export: Export, expected: Expected) -> None:
    """Is it this player's export of this episode of this match. Raises :class:`RefusedError`."""
    if export.own.player != expected.player:
        raise RefusedError(
            403,
            "not_yours",
            f"own.player {export.own.player}: the ticket is player {expected.player}'s",
            field="own.player",
            expected=expected.player,
            actual=export.own.player,
        )
    header = export.header
    wanted, given = msgspec.to_builtins(expected_header(expected, header)), msgspec.to_builtins(header)
    if pack_value(wanted) != pack_value(given):  # what the digest covers: 5 is not 5.0, and 0.0 is not -0.0
        difference = first_difference(wanted, given) or Difference("(bytes)", "", "")
        raise RefusedError(
            422,
            "header_mismatch",
            f"header.{difference.field}: not what this match was started with",
            field=f"header.{difference.field}",
            expected=difference.first,
            actual=difference.second,
        )
    limit = min(expected.episode_frames, MAX_FRAMES, header.settings.frame_limit or MAX_FRAMES)
    if header.frames > limit:
        raise RefusedError(
            413,
            "too_many_frames",
            f"header.frames {header.frames}: at most {limit}",
            field="header.frames",
            expected=limit,
            actual=header.frames,
        )


def expected_header(expected: Expected, header: Header) -> Header:
    """The header an export of this episode must have; only the length and the status are the peer's to say."""
    match = expected.match
    return Header(
        match.id,
        expected.episode,
        match.seed,
        episode_seed(match.seed, expected.episode),
        match.game,
        match.settings,
        match.participants,
        header.frames,
        header.status,
    )


def _check_storable(export: Export) -> None:
    """What is acknowledged must have a place in the dataset: nothing says so more surely than to write it."""
    try:
        check_storable(export.header, export.canonical, export.own)
    except EpisodeFileError as error:
        raise RefusedError(400, "bad_export", error.reason, field="export") from error


def _decode(body: bytes) -> Export:
    try:
        return decode_export(body)
    except ExportError as error:
        raise RefusedError(400, "bad_export", str(error), field=error.field) from error
    except MemoryError as error:
        raise RefusedError(413, "too_large", "the export does not fit into memory") from error
