"""What a catalogue and a store of episodes raise, whatever they are made of.

A store's operations raise ``OSError``: it is files that are handed over and given back.
"""

from __future__ import annotations

import errno
from typing import Literal

from rollgym.server.errors import ServerError

Kind = Literal["busy", "full", "damaged", "gone", "taken", "refused"]

WAY_OUT = "rollgym catalogue rebuild"

# What the operating system says when there is no room: full disk, quota, file size limit.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CatalogueError(Exception):
    """The catalogue refuses. Nothing of what was asked for was done.

    ``kind``: ``busy`` (somebody else holds it: it is free again after a while), ``full`` (no room), ``damaged`` (what
    is in it is not what was written), ``gone`` (nothing can be asked of it any more), ``taken`` (another match of the
    experiment has the number), ``refused`` (anything else).
    ``final``: asking again cannot go better.
    """

    def __init__(self, message: str, kind: Kind = "refused", *, final: bool = False) -> None:
        super().__init__(message, kind, final)
        self.kind = kind
        self.final = final

    def __str__(self) -> str:
        return str(self.args[0])


class CatalogueGoneError(CatalogueError):
    """Whoever writes the catalogue has ended."""

    def __init__(self) -> None:
        super().__init__("the catalogue's thread has ended: restart the server", "gone", final=True)


class Stopped(Exception):
    """The catalogue was closed while the call waited. What it asked for was not done."""


class AnnulledError(Exception):
    """The match was undone while something of it was on its way. It never was."""


class DamagedError(ServerError):
    """The file is no catalogue, or a page of it cannot be read."""


def refused_at_start(place: object, error: CatalogueError) -> ServerError:
    """One sentence for who started the server. ``place``: the catalogue's."""
    if error.kind == "damaged":
        return damaged(place, str(error))
    hint = "; another program has it open, close that" if error.kind == "busy" else ""
    return ServerError(f"catalogue {place}: {error}{hint}")


def damaged(place: object, reason: str) -> DamagedError:
    """What to say, and the way out."""
    folder = str(place).rpartition("/")[0] or "."
    return DamagedError(
        f"catalogue {place}: {reason}; the episodes are files of their own, and {WAY_OUT} {folder}"
        " makes it anew from them"
    )
