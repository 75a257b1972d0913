"""Messages on a stream: four bytes of length, little-endian, then the message."""

from __future__ import annotations

HEADER = 4
"""Bytes of the length."""

MAX_MESSAGE = 1 << 30
"""Bytes of one message. An export of the largest size that a server can be configured to take fits in."""


class FramingError(ValueError):
    """A length that no message has: what is on the stream is not ours."""


def framed(message: bytes) -> bytes:
    """A message with its length. Raises :class:`FramingError` if it is too long."""
    if len(message) > MAX_MESSAGE:
        raise FramingError(f"message of {len(message)} bytes: expected at most {MAX_MESSAGE}")
    return len(message).to_bytes(HEADER, "little") + message


def length(header: bytes | bytearray) -> int:
    """The length in a header. Raises :class:`FramingError`."""
    size = int.from_bytes(header, "little")
    if size > MAX_MESSAGE:
        raise FramingError(f"message of {size} bytes: expected at most {MAX_MESSAGE}")
    return size
