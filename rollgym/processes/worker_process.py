"""What a worker process does: it runs one function after the other, in its main thread, until its parent hangs up.

Only what is ours, or plain, goes back. The exception of a game could be of a class that is imported with the game's
code, and whoever reads it would import that: it goes back as text.
"""

from __future__ import annotations

import contextlib
import errno
import io
import pickle
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from rollgym.processes.channel import Channel

GIBIBYTE = 1 << 30

NOTE = 8000
"""Characters of a traceback that go back; its end says most."""


class Bounds(Struct, frozen=True):
    """What a worker may take."""

    memory: float | None
    """GiB of memory of its own. None: no bound. On Linux only."""


class WorkError(Exception):
    """A piece of work that came to no end, and would not at the next try either. The text says why, for people."""


class OutOfMemoryError(WorkError):
    """A worker needed more memory than it may take."""


class WorkFailedError(WorkError):
    """Code of others raised something that is theirs, or tried to end the process."""


def main(channel: Channel) -> None:
    """Run what comes. The first message says what the process may take."""
    first = channel.receive()
    assert first is not None
    bounds: Bounds = pickle.loads(first)  # noqa: S301 - of our own parent
    _bind(bounds)
    while True:
        message = channel.receive()
        assert message is not None
        channel.send(_answer(message, bounds))


def _bind(bounds: Bounds) -> None:
    if sys.platform != "linux" or bounds.memory is None:
        return
    import resource

    # What the process writes to, and not its address space: runtimes reserve far more of that than they use.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = int(bounds.memory * GIBIBYTE)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _answer(message: bytes, bounds: Bounds) -> bytes:
    try:
        work, args, kwargs = pickle.loads(message)  # noqa: S301 - of our own parent
        answer = pickle.dumps((True, work(*args, **kwargs)))
        unpacked(answer)
        return answer
    except BaseException as error:  # noqa: BLE001 - a game may raise anything, and try to end the process
        told = _portable(error, bounds)
        told.add_note("".join(traceback.format_exception(error))[-NOTE:])
        return pickle.dumps((False, told))


def _portable(error: BaseException, bounds: Bounds) -> Exception:
    if bounds.memory is not None and any(map(_is_of_memory, _chain(error))):
        return OutOfMemoryError(f"ran out of the {bounds.memory:g} GiB that server.worker_memory allows")
    if isinstance(error, Exception) and type(error).__module__.partition(".")[0] in ("builtins", "rollgym"):
        with contextlib.suppress(Exception):  # whatever it is made of: then it goes as text
            unpacked(pickle.dumps(error))
            return error
    return WorkFailedError(f"{type(error).__name__}: {error}"[:1000])


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not ours")
        return super().find_class(module, name)


_KNOWN = frozenset({"rollgym", "msgspec", "numpy", *sys.stdlib_module_names})


def unpacked(answer: bytes) -> Any:
    """What a worker answered. Raises ``pickle.UnpicklingError`` for what is made of code that is not ours."""
    return _Unpickler(io.BytesIO(answer)).load()


def _is_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what led to it."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
