"""A child's end of the line to its parent: blocking, for a main thread that has no event loop."""

from __future__ import annotations

import os
import select
import socket
import time

from rollgym.processes.forks import end_if_forked
from rollgym.processes.framing import HEADER, framed, length


class ChannelClosed(Exception):
    """The parent has closed the line, or is gone."""


class Channel:
    """Whole messages over a connected stream socket. One thread at a time may receive, and one may send."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.setblocking(True)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._waiting = bytearray()
        self._process = os.getpid()

    def send(self, message: bytes) -> None:
        """Hand over one message; blocks while the parent does not read. Raises :class:`ChannelClosed`.

        What a game forked has nothing to say here: an answer of its own would be taken for the next one of ours.
        """
        end_if_forked(self._process)
        try:
            self._sock.sendall(framed(message))
        except OSError as error:
            raise ChannelClosed from error

    def receive(self, timeout: float | None = None) -> bytes | None:
        """The next message; None if none was complete within ``timeout`` seconds. None as ``timeout``: wait for ever.

        With 0 it takes what has arrived. Raises :class:`ChannelClosed`.
        """
        end_if_forked(self._process)
        deadline = None if timeout is None else time.monotonic() + timeout
        while (message := self._take()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._poll.poll(None if left is None else left * 1000):
                return None
            try:
                piece = self._sock.recv(1 << 18)
            except OSError as error:
                raise ChannelClosed from error
            if not piece:
                raise ChannelClosed
            self._waiting += piece
        return message

    def _take(self) -> bytes | None:
        waiting = self._waiting
        if len(waiting) < HEADER:
            return None
        end = HEADER + length(waiting[:HEADER])
        if len(waiting) < end:
            return None
        message = bytes(waiting[HEADER:end])
        del waiting[:end]
        return message

    def close(self) -> None:
        """Hang up."""
        self._sock.close()
