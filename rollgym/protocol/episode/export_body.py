"""An export as the body of an upload: MessagePack."""

from __future__ import annotations

import msgspec

from rollgym.protocol.episode.bounds import BoundsError, check_bounds
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_check import check_export

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Export)


def encode_export(export: Export) -> bytes:
    """The upload body."""
    return _encoder.encode(export)


def decode_export(body: bytes) -> Export:
    """An export from an upload body, checked by :func:`check_export`. Raises :class:`ExportError` only.

    The caller bounds ``len(body)``. Columns take as much memory as bytes; everything that takes more (infos,
    rollbacks, the tail, the parts without a schema) is counted by :mod:`rollgym.protocol.episode.bounds` before it is
    built.
    """
    try:
        check_bounds(body)
    except BoundsError as error:
        raise ExportError(error.field, str(error).removeprefix(f"{error.field}: ")) from error
    try:
        export = _decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        raise ExportError("export", str(error)) from error
    check_export(export)
    return export
