"""What keeps the server from running, and what it answers to a client that is refused."""

from __future__ import annotations

from typing import Any

from rollgym.protocol.messages import ErrorReply, dump


class ServerError(Exception):
    """The server cannot start or cannot go on. The text is for the person who started it."""


class RefusedError(Exception):
    """A request that is refused. Carries the :class:`~rollgym.protocol.messages.ErrorReply` and its HTTP status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str = "",
        expected: Any = None,
        actual: Any = None,
    ) -> None:
        super().__init__(status, code, message, field, expected, actual)
        self.status = status
        self.code = code
        self.reply = ErrorReply(code, message[:1024], field[:1024], plain(expected), plain(actual))

    def __reduce__(self) -> tuple[Any, ...]:
        reply = self.reply
        return _rebuild, (self.status, reply.code, reply.message, reply.field, reply.expected, reply.actual)

    def __str__(self) -> str:
        return f"{self.code}: {self.reply.message}"

    def acknowledgement(self) -> dict[str, Any]:
        """The Socket.IO acknowledgement, and the JSON body of a refused HTTP request."""
        return {"ok": False, "error": dump(self.reply)}


def _rebuild(status: int, code: str, message: str, field: str, expected: Any, actual: Any) -> RefusedError:
    return RefusedError(status, code, message, field=field, expected=expected, actual=actual)


def plain(value: Any, limit: int = 200) -> Any:
    """``value`` if it is a short plain value, else the beginning of its text: an echo must not amplify."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
