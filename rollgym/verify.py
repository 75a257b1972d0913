"""Re-simulate stored episodes from their seed and inputs and compare with what the files say.

Each file stands for itself: nothing but the file and the game of its name, version and parameters is used. A game that
is not built in is named by its code, and a file may come from anybody: such code is imported only if the caller names
it too.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from msgspec import Struct

from protocol.parquet import EpisodeFileError, read_layout


class NothingToVerifyError(Exception):
    """A path that does not exist or under which there is no episode."""


class Verified(Struct, frozen=True):
    """What became of one file."""

    path: str
    ok: bool
    frames: int
    detail: str
    """Empty, or the first difference, or why the file can not be checked."""


def episode_files(path: Path) -> list[Path]:
    """The files to check at ``path``: itself, a data folder's dataset, or all below any other folder.

    Files that hold only a peer's own part are left out. Raises :class:`NothingToVerifyError`.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NothingToVerifyError(f"{path}: no such file or folder")
    dataset = path / "episodes"
    files = sorted((dataset if dataset.is_dir() else path).rglob("*.parquet"))
    found = [file for file in files if not _is_own_part(file)]
    if not found:
        raise NothingToVerifyError(f"{path}: no episodes in it")
    return found


def _is_own_part(path: Path) -> bool:
    try:
        return read_layout(path).canonical is None
    except EpisodeFileError:
        return False  # to be reported, not passed over


def verify_file(path: Path, trusted: frozenset[str] = frozenset()) -> Verified:
    """Re-simulate one episode. Never raises for what is in the file.

    ``trusted`` are the names of games beyond the built-in ones whose code may be imported.
    """
    from games.errors import GameError
    from games.registry import is_built_in, make
    from protocol.episode import Export, Own, content_digest
    from protocol.parquet import read_episode
    from server.judge import audit

    name = os.fspath(path)
    try:
        stored = read_episode(path)
    except EpisodeFileError as error:
        return Verified(name, False, 0, error.reason)
    header, canonical = stored.header, stored.canonical
    if canonical is None:
        return Verified(name, False, header.frames, "holds one peer's own part only, no canonical frames")
    digest = content_digest(header, canonical)
    own = stored.own or Own(0, {}, [], None, {}, {}, {}, 0.0, 0.0)
    try:
        game = make(header.game.id, header.game.parameters, foreign=header.game.id in trusted)
    except GameError as error:
        hint = "" if is_built_in(header.game.id) else f" (trust it with --game {header.game.id})"
        return Verified(name, False, header.frames, f"can not be played here: {error}{hint}")
    try:
        mismatch = audit(Export(header, canonical, own, digest), game)
    finally:
        game.close()
    if mismatch is not None:
        return Verified(name, False, header.frames, f"replay differs: {mismatch} (file against replay)")
    received = json.loads(stored.extra.get("digests", "{}")).values()
    if received and digest.hex() not in received:
        return Verified(name, False, header.frames, "the digest is not one that a player sent: the header was altered")
    return Verified(name, True, header.frames, "")


def verify_files(paths: Sequence[Path], jobs: int, trusted: frozenset[str] = frozenset()) -> Iterator[Verified]:
    """Check files in up to ``jobs`` processes; results come as they are ready."""
    jobs = min(jobs, len(paths))
    if jobs <= 1:
        yield from (verify_file(path, trusted) for path in paths)
        return
    # Not forked: pyarrow has threads.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for done in as_completed([pool.submit(verify_file, path, trusted) for path in paths]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
