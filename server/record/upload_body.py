"""An upload's body on its way into a file: without its content encoding, and bounded on either side of it."""

from __future__ import annotations

import zlib
from pathlib import Path

ENCODINGS = ("identity", "deflate", "gzip")

_AT_ONCE = 1 << 20
# Bytes that are decompressed at once: a few of them can stand for a thousand times as many.


class BodyError(ValueError):
    """The bytes are not of the content encoding that was announced."""


class TooLargeError(ValueError):
    """More than there may be."""

    def __init__(self, limit: int, size: int) -> None:
        super().__init__(f"more than {limit} bytes")
        self.limit = limit
        self.size = size


class Body:
    """A file that is being received. Blocking: called from threads."""

    def __init__(self, path: Path, encoding: str, *, raw_limit: int, limit: int) -> None:
        """``raw_limit`` bounds what comes over the line, ``limit`` what it is without its encoding; both in bytes."""
        self._file = path.open("wb")
        self._encoding = encoding
        self._decoder: zlib._Decompress | None = None
        self._raw_limit, self._limit = raw_limit, limit
        self._raw = self._size = 0

    def write(self, piece: bytes) -> None:
        """Take in what came. Raises :class:`BodyError`, :class:`TooLargeError` and ``OSError``."""
        self._raw += len(piece)
        if self._raw > self._raw_limit:
            raise TooLargeError(self._raw_limit, self._raw)
        if self._encoding == "identity" or not piece:
            self._keep(piece)
            return
        if self._decoder is None:
            self._decoder = zlib.decompressobj(_window(self._encoding, piece[0]))
        try:
            while piece:
                self._keep(self._decoder.decompress(piece, _AT_ONCE))
                piece = self._decoder.unconsumed_tail
        except zlib.error as error:
            raise BodyError(str(error)) from error
        if self._decoder.unused_data:
            raise BodyError("bytes after its end")

    def finish(self) -> None:
        """Everything has come. Raises :class:`BodyError` if it ends in the middle, and ``OSError``."""
        if self._decoder is not None:
            self._keep(self._decoder.flush(_AT_ONCE))
            if not self._decoder.eof:
                raise BodyError("cut short")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(self._limit, self._size)
        self._file.write(data)


def _window(encoding: str, first: int) -> int:
    """zlib's ``wbits``. What HTTP calls deflate is a zlib stream; some send the bare one, as its first byte shows."""
    if encoding == "gzip":
        return 16 + zlib.MAX_WBITS
    return zlib.MAX_WBITS if first & 0xF == zlib.DEFLATED else -zlib.MAX_WBITS
