"""Finished episodes on disk until the server has them: a crash, ours or the server's, loses none.

One file an export: a line of magic, a line of JSON that says where it belongs and how to prove that we may upload it,
then the compressed body. Written to a temporary name, synced, renamed, and the folder synced; so a file with a final
name is whole. Files hold a ticket, therefore only their owner may read them. File names are digests of what the
export is: no text of the server's gets into a path, and spooling the same export twice gives one file.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta, Struct

from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files import durable
from rollgym.protocol.messages import Name

log = structlog.get_logger(__name__)

MAGIC = b"rollgym spool 1\n"
MAX_HEAD = 64 * 1024
SUFFIX = ".export"
REFUSED = "refused"
REASON_SUFFIX = ".reason.txt"
LEVEL = 1
"""zlib level: exports shrink to a fifth or so at the first level already, and a peer may be playing meanwhile."""

ABANDONED = 3600.0
"""Seconds after which a temporary file belongs to a process that died while it wrote: half an export, of no use."""


class SpoolError(Exception):
    """The spool cannot be used, or a file in it is damaged. Names the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class Parcel(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything but the body that an upload needs, after a restart as well."""

    url: Annotated[str, Meta(max_length=4096)]
    """Where to PUT it."""
    ticket: Name
    match: Name
    episode: int
    player: int
    size: int
    """Bytes of the compressed body."""
    digest: str
    """BLAKE2b of the compressed body, in hex."""


class Spooled(Struct, frozen=True):
    """An export that waits for its upload: in the file ``path``, or in ``body`` if the disk would not take it."""

    parcel: Parcel
    path: Path | None
    body: bytes | None = None


def pack(export: Export, url: str, ticket: str) -> tuple[Parcel, bytes]:
    """An export as it goes over the wire: its parcel and the zlib-compressed upload body."""
    body = zlib.compress(encode_export(export), LEVEL)
    header = export.header
    return Parcel(url, ticket, header.match, header.episode, export.own.player, len(body), _digest(body)), body


def names(parcel: Parcel) -> dict[str, object]:
    """What a log line says of an export."""
    return {"match": parcel.match, "episode": parcel.episode, "player": parcel.player}


class Spool:
    """A folder of exports. Any number of processes may use the same one."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder, and makes sure that it can be written to. Raises :class:`SpoolError`."""
        self.folder = folder
        try:
            durable.make_folder(folder, 0o700)
            probe = folder / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            now = probe.stat().st_mtime  # the file system's own clock
            probe.unlink()
            for temporary in folder.glob(".*.tmp"):
                if now - temporary.stat().st_mtime > ABANDONED:
                    temporary.unlink(missing_ok=True)
        except FileNotFoundError:  # another process has just renamed or removed it
            pass
        except OSError as error:
            raise SpoolError(folder, f"not writable: {error.strerror}") from error

    def take(self, export: Export, url: str, ticket: str) -> Spooled:
        """Write an export durably, for its upload to ``url``. One that the disk will not take stays in memory."""
        parcel, body = pack(export, url, ticket)
        try:
            return self.put(parcel, body)
        except SpoolError as error:
            log.error("export not spooled, uploading it from memory", error=str(error), **names(parcel))
            return Spooled(parcel, None, body)

    def put(self, parcel: Parcel, body: bytes) -> Spooled:
        """Write an export durably. Raises :class:`SpoolError` if the disk will not take it."""
        path = self.folder / (_name(parcel) + SUFFIX)
        head = MAGIC + msgspec.json.encode(parcel) + b"\n"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            durable.make_folder(self.folder, 0o700)  # another process may have found it empty
            durable.write(path, (head, body), temporary=temporary, mode=0o600)
        except OSError as error:
            raise SpoolError(path, f"not written: {error.strerror}") from error
        return Spooled(parcel, path)

    def body(self, spooled: Spooled) -> bytes:
        """What to upload. Raises :class:`SpoolError` if the file is damaged, ``FileNotFoundError`` if it is gone."""
        if spooled.path is None:
            assert spooled.body is not None
            return spooled.body
        return _read(spooled.path)[1]

    def pending(self) -> Iterator[Spooled]:
        """What waits for its upload, oldest first. Damaged files are moved aside and raise nothing."""
        entries = []
        for path in self.folder.glob("*" + SUFFIX):
            try:
                entries.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:  # another process has just uploaded it
                continue
        for _, path in sorted(entries):
            try:
                parcel, _ = _read(path)
            except FileNotFoundError:
                continue
            except SpoolError as error:
                self.refuse(path, error.reason)
                continue
            yield Spooled(parcel, path)

    def refused(self) -> list[Path]:
        """Exports that the server will not take, or that are damaged."""
        return sorted((self.folder / REFUSED).glob("*" + SUFFIX))

    def take_back(self) -> int:
        """Put what was refused back among what waits: a limit may have been raised. How many that is.

        Raises :class:`SpoolError`.
        """
        taken = self.refused()
        for path in taken:
            try:
                durable.publish(path, self.folder / path.name)
                path.with_name(path.name + REASON_SUFFIX).unlink(missing_ok=True)
            except FileNotFoundError:  # another process has just done so
                continue
            except OSError as error:
                raise SpoolError(path, f"not moved to {self.folder}: {error.strerror}") from error
        return len(taken)

    def remove(self, spooled: Spooled) -> None:
        """The server has it. Raises :class:`SpoolError`."""
        if spooled.path is None:
            return
        try:
            spooled.path.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(spooled.path, f"not removed: {error.strerror}") from error

    def refuse(self, path: Path, reason: str) -> Path:
        """Move an export that cannot be uploaded out of the way, the reason beside it. Raises :class:`SpoolError`."""
        folder = self.folder / REFUSED
        target = folder / path.name
        try:
            durable.make_folder(folder, 0o700)
            target.with_name(target.name + REASON_SUFFIX).write_text(reason + "\n", encoding="utf-8")
            durable.publish(path, target)
            durable.sync_folder(self.folder)
        except OSError as error:
            raise SpoolError(path, f"not moved to {folder}: {error.strerror}") from error
        return target


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=32).hexdigest()


def _name(parcel: Parcel) -> str:
    identity = msgspec.json.encode([parcel.url, parcel.match, parcel.episode, parcel.player, parcel.digest])
    return f"{parcel.episode:06d}-{parcel.player:02d}-{blake2b(identity, digest_size=16).hexdigest()}"


def _read(path: Path) -> tuple[Parcel, bytes]:
    """Raises :class:`SpoolError` if the file is damaged or cannot be read, ``FileNotFoundError`` if it is gone."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise SpoolError(path, "not a spool file of this version")
            line = file.readline(MAX_HEAD)
            body = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SpoolError(path, f"not readable: {error.strerror}") from error
    try:
        parcel = msgspec.json.decode(line, type=Parcel)
    except msgspec.DecodeError as error:
        raise SpoolError(path, f"damaged: {error}") from error
    if len(body) != parcel.size or _digest(body) != parcel.digest:
        raise SpoolError(path, f"damaged: {len(body)} bytes are not the {parcel.size} that were written")
    return parcel, body
