"""The server's word on an episode: parity of the peers' exports, and the audit by re-simulation.

Runs in a worker process. Doing it twice gives the same files again, so a kill at any moment costs only time.

========  ==========================================================================================================
verified  every player's export is there, they say the same, the episode is complete, and the replay agrees
diverged  two exports differ in a frame that both have, or the replay gives something else; all versions are kept
single    one player's export only; the replay agrees with it
partial   the exports agree as far as they go and the replay agrees, but the episode was not played to its end
========  ==========================================================================================================
"""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from rollgym.games.contract import Game
from rollgym.games.identity import identity
from rollgym.games.limits import limited
from rollgym.games.registry import available, make
from rollgym.games.replay import ReplayError, replay
from rollgym.protocol.episode import (
    Canonical,
    Column,
    Export,
    ExportError,
    Header,
    Own,
    canonical_layout,
    content_digest,
    decode_export,
)
from rollgym.protocol.messages import first_difference
from rollgym.protocol.parity import Mismatch, compare_episodes
from rollgym.protocol.parquet import EpisodeFileError, StoredEpisode, read_episode, write_episode
from rollgym.server.catalogue import EpisodeRow, MatchRow, UploadRow
from rollgym.server.store import Store, publish, sync_file

CANONICAL = "canonical.parquet"


class Job(Struct, frozen=True):
    """One episode to be judged."""

    root: Path
    """The data folder."""
    match: MatchRow
    uploads: tuple[UploadRow, ...]
    """What was received, by player. At least one."""
    own_game: str
    """The game of the server's configuration. Other matches in the folder may be of other games, if built in."""


class GameChangedError(Exception):
    """The match was played in a game that this server does not have in that form. The episode stays unjudged."""


class UnusableError(Exception):
    """An export that can not be read, or has no place in a file. Acknowledged all the same: it stays where it is."""

    def __init__(self, player: int, reason: str) -> None:
        super().__init__(player, reason)
        self.player = player
        self.reason = reason

    def __str__(self) -> str:
        return f"the upload of player {self.player} is set aside: {self.reason}"


class Finding(NamedTuple):
    """A verdict before it is stored."""

    verdict: str
    detail: str
    mismatch: Mismatch | None
    canonical: tuple[Export, ...]
    """Whose canonical part is stored: one export unless they diverged."""


def judge_episode(job: Job) -> EpisodeRow:
    """Compare, audit, write the episode's files durably, and give the row for the catalogue.

    The game is made from the server's own record of the match; what a client says is compared with it, never made.
    Code from elsewhere is run only if the configuration names it, and not because a data folder does.
    An export that can not be used does not cost the others their verdict: it is set aside, and the verdict says so.
    Raises :class:`GameChangedError`, ``OSError`` if the disk refuses, and :class:`UnusableError` if no export is left
    or one that is in the dataset already can not be read.
    """
    store = Store(job.root)
    exports, aside = _load(store, job)
    wanted = job.match.game.id
    if wanted != job.own_game and wanted not in [game.id for game in available()]:
        raise GameChangedError(f"game {wanted!r}: neither built in nor the configured {job.own_game!r}")
    game = make(wanted, job.match.game.parameters)
    try:
        change = first_difference(job.match.game, identity(game.spec))
        if change is not None:
            raise GameChangedError(f"game.{change.field}: {change.first!r} in the match, {change.second!r} here")
        now = time.time()
        while True:
            finding = _with_reasons(find(exports, len(job.match.participants), game), aside)
            try:
                files = _write(store, job, exports, finding, now)
                break
            except UnusableError as error:
                if not store.inbox_path(job.match.id, job.uploads[0].episode, error.player).is_file():
                    raise
                aside.append(error)
                exports = [export for export in exports if export.own.player != error.player]
                if not exports:
                    raise
    finally:
        game.close()
    header = finding.canonical[0].header
    return EpisodeRow(
        job.match.id,
        header.episode,
        finding.verdict,
        finding.detail,
        tuple(export.own.player for export in exports),
        header.frames,
        header.status,
        header.seed,
        finding.canonical[0].digest,
        None if finding.mismatch is None else _mismatch_fields(finding.mismatch),
        files,
        now,
    )


def _load(store: Store, job: Job) -> tuple[list[Export], list[UnusableError]]:
    """The exports, and those that can not be used. One that was judged before was good: then the disk is at fault."""
    exports, aside = [], []
    for row in job.uploads:
        try:
            exports.append(load_upload(store, row))
        except (EpisodeFileError, ExportError) as error:
            unusable = UnusableError(row.player, str(error))
            if not store.inbox_path(row.match, row.episode, row.player).is_file():
                raise unusable from error
            aside.append(unusable)
    if job.uploads and not exports:
        raise aside[0]
    return exports, aside


def _with_reasons(finding: Finding, aside: list[UnusableError]) -> Finding:
    if not aside:
        return finding
    detail = "; ".join([finding.detail, *map(str, sorted(aside, key=lambda error: error.player))])
    return finding._replace(detail=detail[:1024])


def load_upload(store: Store, row: UploadRow) -> Export:
    """An acknowledged upload: from the inbox, or put together from the dataset if it was judged before."""
    waiting = store.inbox_path(row.match, row.episode, row.player)
    if waiting.is_file():
        return decode_export(waiting.read_bytes())
    folder = store.episode_folder(row.match, row.episode)
    versioned = folder / f"canonical.player_{row.player}.parquet"
    facts = read_episode(versioned if versioned.is_file() else folder / CANONICAL)
    mine = read_episode(folder / f"player_{row.player}.parquet")
    return _reunite(facts, mine)


def _reunite(facts: StoredEpisode, mine: StoredEpisode) -> Export:
    assert facts.canonical is not None
    assert mine.own is not None
    header, canonical = mine.header, facts.canonical
    if header.frames != facts.header.frames:
        canonical = cut(canonical, header.frames)  # partial: the file has the longest of the exports
    return Export(header, canonical, mine.own, content_digest(header, canonical))


# --- the verdict ------------------------------------------------------------------------------------------------


def find(exports: list[Export], players: int, game: Game) -> Finding:
    """The verdict on the exports of one episode. ``game`` is the server's own, without a frame limit."""
    longest = max(exports, key=lambda export: (export.header.frames, export.header.status == "complete"))
    for export in exports:
        if export is not longest:
            mismatch = common_difference(longest, export)
            if mismatch is not None:
                pair = f"players {longest.own.player} and {export.own.player}"
                return Finding("diverged", f"{pair}: {mismatch}"[:1024], mismatch, tuple(exports))
    mismatch = audit(longest, game)
    if mismatch is not None:
        return Finding("diverged", f"replay: {mismatch}"[:1024], mismatch, tuple(exports))
    complete = all(export.header.status == "complete" for export in exports)
    if len(exports) < players:
        missing = sorted(set(range(players)) - {export.own.player for export in exports})
        verdict = "single" if len(exports) == 1 else "partial"
        return Finding(verdict, f"nothing from player {', '.join(map(str, missing))}", None, (longest,))
    if complete:
        return Finding("verified", "", None, (longest,))
    endings = ", ".join(f"player {e.own.player}: {e.header.status} at {e.header.frames} frames" for e in exports)
    return Finding("partial", endings, None, (longest,))


def common_difference(first: Export, second: Export) -> Mismatch | None:
    """The first difference in the frames that both have; their length and status only count if both are complete."""
    if first.header == second.header:
        return compare_episodes((first.header, first.canonical), (second.header, second.canonical))
    statuses = {first.header.status, second.header.status}
    if statuses == {"complete"}:
        return compare_episodes((first.header, first.canonical), (second.header, second.canonical))
    frames = min(first.header.frames, second.header.frames)
    found = compare_episodes(
        (first.header, cut(first.canonical, frames)), (second.header, cut(second.canonical, frames)), header=False
    )
    if found is not None:
        return found
    change = first_difference(_fixed(first.header), _fixed(second.header))
    return None if change is None else Mismatch(None, change.field, repr(change.first), repr(change.second))


def _fixed(header: Header) -> list[Any]:
    """A header without what a peer that stopped early rightly says otherwise."""
    return [header.match, header.episode, header.match_seed, header.seed, header.game, header.settings]


def cut(canonical: Canonical, frames: int) -> Canonical:
    """The first ``frames`` frames of a canonical part."""
    columns = {}
    for name, column in canonical.columns.items():
        rows = frames + 1 if name == "state_digest" or name.startswith("observations/") else frames
        rows = min(rows, column.shape[0])
        size = len(column.data) // column.shape[0] * rows if column.shape[0] else 0
        columns[name] = Column(column.dtype, (rows, *column.shape[1:]), column.data[:size])
    return Canonical(columns, [info for info in canonical.infos if info.row <= frames])


def audit(export: Export, game: Game) -> Mismatch | None:
    """Re-simulate an export from its seed and inputs; the first difference. ``first`` is what the export says.

    The shape of the columns is compared before anything is played: what is re-simulated is then never larger than
    what was uploaded.
    """
    header, canonical = export.header, export.canonical
    change = first_difference(identity(game.spec), header.game)
    if change is not None:
        return Mismatch(None, f"game.{change.field}", repr(change.second), repr(change.first))
    game = limited(game, header.settings.frame_limit)
    empty = Header(
        header.match,
        header.episode,
        header.match_seed,
        header.seed,
        header.game,
        header.settings,
        header.participants,
        0,
        "aborted",
    )
    try:
        shape = replay(empty, cut(canonical, 0), game)
        found = _layout_difference(header, canonical, shape)
        if found is not None:
            return found
        played = replay(header, canonical, game)
    except ReplayError as error:
        return Mismatch(None, error.field, str(error), "")
    return compare_episodes((header, canonical), (header, played), header=False)


def _layout_difference(header: Header, canonical: Canonical, shape: Canonical) -> Mismatch | None:
    for name in sorted({*canonical.columns, *shape.columns, *canonical_layout(header)}):
        if name not in canonical.columns or name not in shape.columns:
            have = [str(name in side.columns) for side in (canonical, shape)]
            return Mismatch(None, f"columns.{name}", have[0], have[1])
        one, two = canonical.columns[name], shape.columns[name]
        if one.dtype != two.dtype or one.shape[1:] != two.shape[1:]:
            return Mismatch(None, f"columns.{name}", f"{one.dtype}{one.shape[1:]}", f"{two.dtype}{two.shape[1:]}")
    return None


def _mismatch_fields(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "frame": mismatch.frame,
        "field": mismatch.field,
        "first": mismatch.first[:1024],
        "second": mismatch.second[:1024],
    }


# --- the files --------------------------------------------------------------------------------------------------


def _write(store: Store, job: Job, exports: list[Export], finding: Finding, now: float) -> tuple[str, ...]:
    extra = provenance(job, exports, finding, now)
    wanted: dict[str, tuple[Export, Canonical | None, Own | None]] = {}
    if finding.verdict == "diverged":
        for export in finding.canonical:
            wanted[f"canonical.player_{export.own.player}.parquet"] = (export, export.canonical, None)
    else:
        wanted[CANONICAL] = (finding.canonical[0], finding.canonical[0].canonical, None)
    for export in exports:
        wanted[f"player_{export.own.player}.parquet"] = (export, None, export.own)
    folder = store.episode_folder(job.match.id, finding.canonical[0].header.episode)
    written: dict[str, Path] = {}
    try:
        for name, (export, canonical, own) in wanted.items():
            written[name] = temporary = store.new_temporary()
            try:
                write_episode(temporary, export.header, canonical, own, extra)
            except EpisodeFileError as error:
                raise UnusableError(export.own.player, error.reason) from error
            sync_file(temporary)
        for name, temporary in written.items():
            publish(temporary, folder / name)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return tuple(wanted)


def provenance(job: Job, exports: list[Export], finding: Finding, now: float) -> dict[str, str]:
    """What every file of the episode says about where it comes from."""
    match = job.match
    return {
        "experiment": match.experiment,
        "condition": match.condition,
        "config_hash": match.config_hash,
        "match_created": repr(match.created),
        "verdict": finding.verdict,
        "verdict_detail": finding.detail,
        "mismatch": "" if finding.mismatch is None else json.dumps(_mismatch_fields(finding.mismatch)),
        "judged": repr(now),
        "received": json.dumps({str(row.player): row.received for row in job.uploads}),
        "digests": json.dumps({str(row.player): row.digest.hex() for row in job.uploads}),
        "statuses": json.dumps({str(row.player): row.status for row in job.uploads}),
        "played": json.dumps({str(e.own.player): [e.own.started_at, e.own.ended_at] for e in exports}),
        "bots": json.dumps({str(e.own.player): str(e.own.policy.get("name", ""))[:128] for e in exports}),
        "client_software": json.dumps(match.software),
        "server_software": json.dumps(server_software()),
    }


PACKAGES = (
    *("rollgym", "gymnasium", "numpy", "pyarrow", "msgpack", "msgspec", "xxhash", "blake3"),
    *("pettingzoo", "cogrid", "mpe2", "slimevb", "lbforaging", "rware", "mujoco"),
)
"""What the facts of an episode, their encoding and their digests depend on, as far as it is installed."""


def server_software() -> dict[str, str]:
    """Versions of what judged and wrote the files."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an optional extra, or a checkout that is not installed
            continue
    return found
