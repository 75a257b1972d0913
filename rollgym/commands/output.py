"""What a command says on stdout, apart from whatever else prints there.

Games print: banners, progress, warnings of C libraries. While a verb works, file descriptor 1 and ``sys.stdout`` are
stderr for everybody, and only :func:`say` knows where the real stdout is. So ``--json`` is JSON, and a pipe gets what
it asked for, whatever a game prints.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, TypeVar

import typer

from rollgym.commands.exits import UNUSABLE

READER_GONE = 141
"""Exit code when whoever read our output has gone: what a shell reports of a program that SIGPIPE has ended."""

V = TypeVar("V", bound=Callable[..., None])


class OutputFailed(BaseException):
    """The real stdout does not take what we say. Ends the verb.

    Like an interrupt it is no ``Exception``: where a verb catches whatever a game raises, this is not the game's.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}")
        self.reader_gone = error.errno == errno.EPIPE

    @property
    def exit_code(self) -> int:
        return READER_GONE if self.reader_gone else UNUSABLE


class _Output(io.TextIOBase):
    """The real stdout. With ``keep_going`` what it does not take is dropped, and the failure remembered."""

    def __init__(self, stream: TextIO, keep_going: bool) -> None:
        self._stream = stream
        self._keep_going = keep_going
        self.failure: OutputFailed | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        # The end of an object flushes it once more, which Python 3.13 says aloud if its stream was closed before.
        if not self._stream.closed:
            self._try(self._stream.flush)

    def _try(self, act: Callable[[], Any]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except OSError as error:
            self.failure = OutputFailed(error)
            if not self._keep_going:
                raise self.failure from error


_current: _Output | None = None


def out() -> TextIO:
    """Where our own output goes: the real stdout."""
    return sys.stdout if _current is None else _current  # type: ignore[return-value]


def say(text: object = "", nl: bool = True) -> None:
    """Print a line. Raises :class:`OutputFailed`, unless the verb keeps going."""
    stream = out()
    stream.write(f"{text}\n" if nl else str(text))
    stream.flush()


@contextmanager
def own_output(*, keep_going: bool = False) -> Iterator[None]:
    """While in this context, only :func:`say` reaches stdout. With ``keep_going`` a stdout that breaks ends nothing:
    it is said when the context ends. Raises :class:`OutputFailed`."""
    global _current
    before, real = sys.stdout, _real_stdout()
    output = _Output(sys.stdout if real is None else real, keep_going)
    sys.stdout.flush()
    if real is not None:
        os.dup2(2, 1)
    _current, sys.stdout = output, sys.stderr
    try:
        yield
        output.flush()
    finally:
        with suppress(OutputFailed):
            output.flush()
        if real is not None:
            with suppress(OSError):
                os.dup2(real.fileno(), 1)
            with suppress(OSError):
                real.close()
        _current, sys.stdout = None, before
    if output.failure is not None and not output.failure.reader_gone:
        raise output.failure


def guarded(verb: V, *, keep_going: bool = False) -> V:
    """The same verb, with its own output apart from what else is printed meanwhile."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        with own_output(keep_going=keep_going):
            verb(*args, **kwargs)

    return run  # type: ignore[return-value]


def _real_stdout() -> TextIO | None:
    """A file of its own on the real stdout; None where ``sys.stdout`` is something else, as in a test runner."""
    try:
        if sys.stdout.fileno() != 1:
            return None
    except (OSError, ValueError):
        return None
    return os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace")


def repair_standard_streams() -> None:
    """Make this process one that may print: with descriptors 0, 1 and 2, and streams that take any text.

    A descriptor that was closed by whoever started us would be given to the next file that is opened, and what a game
    prints would go into it.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_with(failure: OutputFailed) -> None:
    """Say why our output is incomplete, in one line, and end."""
    if not failure.reader_gone:
        with suppress(OSError):
            typer.echo(f"rollgym: {failure}", err=True)
    raise SystemExit(failure.exit_code)


def close_stdout() -> None:
    """Let go of what nobody takes, which the interpreter would report at its very end, in its own words."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
