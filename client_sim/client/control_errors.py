"""What can keep a client from a match, or take it out of one."""

from __future__ import annotations

from rollgym.protocol.messages import ErrorReply


class ControlError(Exception):
    """Something between this client and the server's control plane. ``code`` is for programs, the text for people."""

    code = "control"


class ServerUnreachable(ControlError):
    """No server answers at ``url``, or what answers is not one."""

    code = "server_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no server at {url}: {reason}")
        self.url = url
        self.reason = reason


class JoinRefused(ControlError):
    """The server does not take this client. ``code`` and ``field`` say why, ``expected`` is the server's value."""

    def __init__(self, reply: ErrorReply) -> None:
        text = f"{reply.code}: {reply.message}"
        if reply.field:
            text += f" ({reply.field}: {reply.actual!r}, expected {reply.expected!r})"
        super().__init__(text)
        self.code = reply.code
        self.field = reply.field
        self.expected = reply.expected
        self.actual = reply.actual
        self.reply = reply


class ConnectionLost(ControlError):
    """The control connection ended while it was still needed."""

    code = "connection_lost"

    def __init__(self, reason: str) -> None:
        super().__init__(f"connection to the server lost: {reason}")
        self.reason = reason


class NobodyCame(ControlError):
    """No partner came in the time that this client was to wait."""

    code = "nobody_came"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no partner came within {seconds:g} s")
        self.seconds = seconds
