"""What the metadata of an episode file says: what the episode is, and where its columns lie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Header
from rollgym.protocol.episode.values import ValueFormatError
from rollgym.protocol.version import EPISODE_SCHEMA


class EpisodeFileError(Exception):
    """A file that cannot be read as an episode, or an episode that cannot be written. Names the file."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = os.fspath(path)
        self.reason = reason


class StoredColumn(Struct, frozen=True):
    """How one :class:`~rollgym.protocol.episode.export.Column` lies in the file."""

    column: str
    """Name in the table."""
    dtype: str
    shape: tuple[int, ...]
    stored: str
    """The dtype of the table's values; other than ``dtype`` where Parquet has no such type."""
    where: str
    """``rows``: value ``i`` in row ``i``. ``list``: all values as one list in row 0."""


class StoredInfo(Struct, frozen=True):
    """How one key of one agent's infos lies in the file."""

    column: str
    agent: int
    key: str
    type: str
    """``bool``, ``int64``, ``float64``, ``string``, or ``packed`` (:func:`rollgym.protocol.episode.values.pack_value`
    bytes)."""


class CanonicalLayout(Struct, frozen=True):
    """Where the canonical part is."""

    columns: dict[str, StoredColumn]
    infos: list[StoredInfo]
    info_list: str | None
    """The column that holds all infos as one list in row 0, if they are not in columns of their own."""


class OwnLayout(Struct, frozen=True):
    """Where the peer's own part is, and what of it is small."""

    player: int
    columns: dict[str, StoredColumn]
    stats: dict[str, Any]
    policy: dict[str, Any]
    software: dict[str, str]
    started_at: float
    ended_at: float
    tail_start: int | None


class Layout(Struct, frozen=True):
    """A file's metadata."""

    header: Header
    canonical: CanonicalLayout | None
    own: OwnLayout | None
    extra: dict[str, str]


BAD_FILE = (
    pa.ArrowException,
    msgspec.MsgspecError,
    ExportError,
    ValueFormatError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
"""What pyarrow, msgspec, numpy and our own reading raise on a file that is damaged or not ours."""


def read_schema(path: str | os.PathLike[str]) -> pa.Schema:
    """A Parquet file's schema. Raises ``OSError`` and ``pyarrow.ArrowException``."""
    with Path(path).open("rb") as file:  # Arrow itself opens no path that is not text
        return pq.read_schema(file)


def read_arrow(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, parsed: pq.FileMetaData | None = None
) -> pa.Table:
    """All of a Parquet file, or some of its columns. Raises ``OSError`` and ``pyarrow.ArrowException``.

    ``parsed``: its metadata, if they were read before.
    """
    # In this thread alone. Arrow's own may still hold the file when the interpreter ends, and then abort the process.
    with (
        Path(path).open("rb") as opened,
        pq.ParquetFile(opened, metadata=parsed, pre_buffer=False, page_checksum_verification=True) as file,
    ):
        return file.read(columns, use_threads=False)


class Footer(NamedTuple):
    """A file's metadata, and what Arrow made of them: large, and worth keeping only until the rows are read."""

    layout: Layout
    parsed: pq.FileMetaData


def read_layout(path: str | os.PathLike[str]) -> Layout:
    """What the file's metadata says, without reading the rows. Raises :class:`EpisodeFileError` and nothing else."""
    return read_footer(path).layout


def read_footer(path: str | os.PathLike[str]) -> Footer:
    """The same with what Arrow made of it. Raises :class:`EpisodeFileError` and nothing else."""
    try:
        if not Path(path).is_file():
            raise FileNotFoundError("no such file")
        with Path(path).open("rb") as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
            parsed = file.metadata
        # Not the schema's: those are the same, and the schema takes half as long again.
        metadata = parsed.metadata or {}
        if b"rollgym.schema" not in metadata:
            raise ValueError("a Parquet file, but not of this project (no rollgym.schema in its metadata)")
        schema = metadata[b"rollgym.schema"].decode()
        if schema != str(EPISODE_SCHEMA):
            raise ValueError(f"episode schema {schema}: expected {EPISODE_SCHEMA}")
        layout = Layout(
            _unpack_meta(metadata[b"rollgym.header"], Header),
            _optional(metadata, b"rollgym.canonical", CanonicalLayout),
            _optional(metadata, b"rollgym.own", OwnLayout),
            _unpack_meta(metadata[b"rollgym.extra"], dict[str, str]),
        )
        return Footer(layout, parsed)
    except BAD_FILE as error:
        raise EpisodeFileError(path, f"not a readable episode: {short(error)}") from error


def short(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


T = TypeVar("T")


def metadata_of(layout: Layout) -> dict[bytes, bytes]:
    metadata = {
        b"rollgym.schema": str(EPISODE_SCHEMA).encode(),
        b"rollgym.header": _pack_meta(layout.header),
        b"rollgym.extra": _pack_meta(layout.extra),
    }
    if layout.canonical is not None:
        metadata[b"rollgym.canonical"] = _pack_meta(layout.canonical)
    if layout.own is not None:
        metadata[b"rollgym.own"] = _pack_meta(layout.own)
    return metadata


def _pack_meta(value: Any) -> bytes:
    """JSON, or if that would lose something (bytes, NaN), a zero byte and MessagePack."""
    packed = msgspec.msgpack.encode(value)
    try:
        text = msgspec.json.encode(value)
        same = msgspec.msgpack.encode(msgspec.json.decode(text)) == packed
    except (msgspec.MsgspecError, OverflowError, TypeError):
        same = False  # bytes, say: MessagePack has them, JSON does not
    return text if same else b"\0" + packed


def _unpack_meta(data: bytes, kind: type[T]) -> T:
    if data[:1] == b"\0":
        return msgspec.msgpack.decode(data[1:], type=kind)
    return msgspec.json.decode(data, type=kind)


def _optional(metadata: Mapping[bytes, bytes], key: bytes, kind: type[T]) -> T | None:
    return _unpack_meta(metadata[key], kind) if key in metadata else None
