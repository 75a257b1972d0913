"""Uploads that an earlier run left in its spool: a server that was gone, a run that was stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rollgym.client_sim.exports.spool import SUFFIX, Spool
from rollgym.client_sim.exports.upload import Refused, Stored, Uploader, UploadResult

WITHIN = 30.0
"""Seconds in which a server that is there takes what is left."""


class Brought(NamedTuple):
    """What became of a spool."""

    stored: int
    refused: list[str]
    """Why, of each. They are kept in the spool's folder ``refused``."""
    waiting: int
    """Without an answer: they stay in the spool."""


def waiting_in(spool: Path) -> int:
    """How many exports a spool holds that no server has acknowledged."""
    return sum(1 for _ in spool.glob("*" + SUFFIX))


def remove_empty(spool: Path) -> None:
    """Remove a spool that holds nothing, not even what was refused."""
    if spool.is_dir() and not any(spool.iterdir()):
        with suppress(OSError):  # another process has just put something there, or removed it
            spool.rmdir()


async def upload_left(
    spool: Path, url: str, on_result: Callable[[UploadResult], None] = lambda result: None, within: float = WITHIN
) -> Brought:
    """Bring what is in ``spool`` to the server at ``url``, wherever it was meant to go at first.

    What a server refused earlier is tried again: its limits may have been raised.

    It has to be a server of the data folder in which the matches were played: others do not know their tickets.
    Raises :class:`~rollgym.client_sim.exports.spool.SpoolError` if the spool cannot be used.
    """
    stored, refused = 0, []

    def heard(result: UploadResult) -> None:
        nonlocal stored
        if isinstance(result, Stored):
            stored += 1
        elif isinstance(result, Refused):
            refused.append(result.reason)
        on_result(result)

    place = Spool(spool)
    await asyncio.to_thread(place.take_back)
    uploader = Uploader(place, on_result=heard)
    try:
        await uploader.resume(url)
        await uploader.drain(within)
    finally:
        await uploader.close()
    return Brought(stored, refused, waiting_in(spool))
