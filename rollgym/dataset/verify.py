"""Re-simulate stored episodes from their seed and inputs and compare with what the files say.

Each file stands for itself: nothing but the file and the game of its name, version and parameters is used. A game that
is not built in is named by its code, and a file may come from anybody: such code is imported only if the caller names
it too. A file whose game cannot be had here, or only in another version, is not checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from rollgym.processes.workers import WorkerDiedError, WorkError, Workers
from rollgym.protocol.files.parquet import EpisodeFileError, read_layout

if TYPE_CHECKING:
    from rollgym.games.contract import Game
    from rollgym.protocol.messages import GameIdentity


class NothingToVerifyError(Exception):
    """A path that does not exist or under which there is no episode."""


class Verified(Struct, frozen=True):
    """What became of one file."""

    path: str
    ok: bool
    frames: int
    detail: str
    """Empty, or the first difference, or why the file cannot be checked."""
    checked: bool = True
    """Whether the episode could be played here. If not, nothing is known of it, and ``ok`` is false."""


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


def verify_file(path: Path, trusted: frozenset[str] = frozenset(), any_version: bool = False) -> Verified:
    """Re-simulate one episode. Never raises for what is in the file.

    ``trusted`` are the names of games beyond the built-in ones whose code may be imported. With ``any_version`` a game
    of another version than the recorded one is played all the same.
    """
    from rollgym.checking.raised import described
    from rollgym.dataset.stored_spaces import renamed
    from rollgym.games.identity import identity
    from rollgym.games.record.audit import audit
    from rollgym.protocol.episode.export import Export, Own, content_digest
    from rollgym.protocol.files.parquet import read_episode

    name = os.fspath(path)
    try:
        stored = read_episode(path)
    except EpisodeFileError as error:
        return Verified(name, False, 0, error.reason)
    header, canonical = stored.header, stored.canonical
    frames = header.frames
    if canonical is None:
        return Verified(name, False, frames, "holds one peer's own part only, no canonical frames", checked=False)
    try:
        digest = content_digest(header, canonical)
        received = json.loads(stored.extra.get("digests", "{}")).values()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return Verified(name, False, frames, f"its digests cannot be checked: {error}")
    altered = None
    if received and digest.hex() not in received:
        altered = Verified(name, False, frames, "the digest is not one that a player sent: the header was altered")
    made = _make(header.game, trusted)
    if isinstance(made, str):
        # The digest needs no game: what it shows is shown here too.
        return altered or Verified(name, False, frames, made, checked=False)
    try:
        here = identity(made.spec)
        if here.version != header.game.version:
            if not any_version:
                return altered or Verified(name, False, frames, _changed(header.game, here), checked=False)
            header = structs.replace(header, game=structs.replace(header.game, version=here.version))
        own = stored.own or Own(0, {}, [], None, {}, {}, {}, 0.0, 0.0)
        canonical = structs.replace(canonical, columns=renamed(header.game, canonical.columns))
        mismatch = audit(Export(header, canonical, own, digest), made)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the same, while it plays
        return Verified(name, False, frames, f"replay differs: {header.game.id} raised {described(error)}")
    finally:
        made.close()
    if mismatch is not None:
        return Verified(name, False, frames, f"replay differs: {mismatch} (file against replay)")
    return altered or Verified(name, True, frames, "")


def _make(wanted: GameIdentity, trusted: frozenset[str]) -> Game | str:
    """The game, or why it cannot be made."""
    from rollgym.checking.raised import described
    from rollgym.games.errors import GameError
    from rollgym.games.registry import is_built_in, make

    known = is_built_in(wanted.id) or wanted.id in trusted
    try:
        return make(wanted.id, wanted.parameters, foreign=wanted.id in trusted)
    except GameError as error:
        hint = "" if known else f" (trust it with --game {wanted.id})"
        return f"cannot be played here: {error}{hint}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's own code may raise anything
        return f"cannot be played here: {wanted.id} raised {described(error)}"


def _changed(recorded: GameIdentity, here: GameIdentity) -> str:
    """What to say when the versions are not the same."""
    from rollgym.games.code_names import is_code_name, module_of

    what, said = f"game {recorded.id}", "is of another version than recorded"
    if is_code_name(recorded.id) and "+source-" in recorded.version and "+source-" in here.version:
        file = getattr(sys.modules.get(module_of(recorded.id)), "__file__", None)
        what, said = Path(file).name if file else what, "has changed since this was recorded"
    versions = f"version {recorded.version} against {here.version}"
    return f"{what} {said} ({versions}): --any-version plays it all the same"


def verify_files(
    paths: Sequence[Path], jobs: int, trusted: frozenset[str] = frozenset(), any_version: bool = False
) -> Iterator[Verified]:
    """Check files in up to ``jobs`` processes; results come as they are ready.

    Never in this process: a game may end the one that it runs in, and nothing would be said.
    """
    # Absolute: a game may change the working directory.
    wanted = {path: path.absolute() for path in paths}
    workers = Workers(max(1, min(jobs, len(paths))))

    async def verified(path: Path) -> Verified:
        try:
            found = await workers.run(verify_file, wanted[path], trusted, any_version)
        except (WorkError, WorkerDiedError) as error:  # the file is not to blame, and the others are checked
            return Verified(os.fspath(path), False, 0, f"cannot be played here: {error}", checked=False)
        return structs.replace(found, path=os.fspath(path))

    with asyncio.Runner() as runner:
        try:
            waiting = {runner.get_loop().create_task(verified(path)) for path in wanted}
            while waiting:
                done, waiting = runner.run(asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))
                for task in done:
                    yield task.result()
        finally:
            workers.close()
