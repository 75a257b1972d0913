"""Reading a dataset: an episode at a time, the table of all episodes, the frames of all as one lazy table."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import pyarrow.dataset as pads
import pyarrow.parquet as pq

import rollgym
from benchmarks.bench_record import lengthened
from benchmarks.matches import scenario
from benchmarks.measuring import Figure, Report, at_least, at_most, figure, interleaved, main
from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.files.parquet import write_episode
from rollgym.protocol.messages import PlaySettings
from rollgym.server.storage.rows import EpisodeRow, MatchRow, UploadRow
from rollgym.server.storage.sqlite.catalogue import SqliteCatalogue, catalogue_of

COLUMN = "rewards"
PLAYERS = 2

NOTES = """
Load: rollgym.load over a data folder as a server writes it (each episode with both players' own parts), every array,
action and info of each episode decoded, against pyarrow.parquet.read_table of the same files of facts.

Table: rollgym.episodes over a catalogue, against reading all rows of the table that has most of them with sqlite3.

Scan: one column of all episodes by rollgym.scan, in one thread, against a pyarrow.dataset of the same files. A new
dataset each time, so that every file's metadata are parsed. What making it costs is in it, and beside it alone, over
the catalogue of the table: no file but one is opened then. "metadata" is pyarrow's own time for parsing those of a file
and nothing else, which no reader of Parquet gets around.
"""


def run(quick: bool) -> Report:
    """Measure."""
    rounds = 1 if quick else 5
    figures = []
    for frames, files in ((60, 2), (200, 1)) if quick else ((1_800, 60), (100_000, 6)):
        with tempfile.TemporaryDirectory() as name:
            write_folder(Path(name), frames, files)
            figures += _load(Path(name), frames, rounds)
            figures += _scan(Path(name), frames, rounds)
    with tempfile.TemporaryDirectory() as name:
        figures += _table(Path(name), 20 if quick else 5_000, rounds)
    return Report("Reading", figures, NOTES)


# --- an episode at a time, and all frames -----------------------------------------------------------------------


def _load(folder: Path, frames: int, rounds: int) -> list[Figure]:
    files = sorted(folder.rglob("canonical.parquet"))

    def bare() -> None:
        for file in files:
            pq.read_table(file, use_threads=False)

    def load() -> None:
        if sum(episode.frames for episode in rollgym.load(folder)) != frames * len(files):
            raise AssertionError("frames are missing")

    read, loaded = (seconds / len(files) for seconds in interleaved([bare, load], rounds))
    name = f"{frames:,} frames"
    return [
        figure(f"read_table, {name}", read * 1e3, "ms an episode", None, "the baseline"),
        figure(f"load, {name}", loaded * 1e3, "ms an episode"),
        figure(f"load against read_table, {name}", loaded / read, "x"),
    ]


def _scan(folder: Path, frames: int, rounds: int) -> list[Figure]:
    files = sorted(folder.rglob("canonical.parquet"))
    rows = (frames + 1) * len(files)

    def used(dataset: pads.Dataset) -> None:
        if dataset.to_table(columns=[COLUMN], use_threads=False).num_rows != rows:
            raise AssertionError("rows are missing")

    def metadata() -> None:
        for file in files:
            pq.read_metadata(file)

    calls = [lambda: used(pads.dataset(files)), lambda: used(rollgym.scan(folder)), metadata]
    bare, scanned, parsed = interleaved(calls, rounds)
    name = f"{frames:,} frames"
    rate = rows / scanned
    return [
        figure(f"pyarrow.dataset, {name}", rows / bare, "frames/s", None, "the baseline"),
        figure(f"scan of {COLUMN}, {name}", rate, "frames/s", at_least(rate, 10e6)),
        figure(f"scan against pyarrow.dataset, {name}", scanned / bare, "x"),
        figure(f"metadata, {name}", parsed / len(files) * 1e6, "us a file"),
    ]


def write_folder(root: Path, frames: int, files: int) -> None:
    """Episodes of Pong, one a match, as in a data folder with a catalogue."""
    exports = _exports(frames)
    catalogue(root, exports, files)
    for number in range(files):
        folder = root / "episodes" / match_id(number) / "episode_000000"
        folder.mkdir(parents=True)
        header = msgspec.structs.replace(exports[0].header, match=match_id(number))
        extra = {"verdict": "verified", "experiment": "study", "condition": f"c{number % 4}"}
        write_episode(folder / "canonical.parquet", header, exports[0].canonical, None, extra)
        for export in exports:
            own = msgspec.structs.replace(header, frames=export.own.columns["rtt"].shape[0])  # of a long one fewer
            write_episode(folder / f"player_{export.own.player}.parquet", own, None, export.own, extra)


def _exports(frames: int) -> list[Export]:
    played = min(frames, 1_800)
    settings = PlaySettings(episodes=1, fps=60.0, frame_limit=played, input_delay=0, max_prediction=8)
    match = scenario("pong", settings, link("constant_50"), policy="tracker", parameters={"points": 99})
    exports = [player.exports[0] for player in simulate(match).players]
    if any(export.header.frames != played for export in exports):
        raise AssertionError(f"{exports[0].header.frames} frames")
    return exports if played == frames else [lengthened(export, frames) for export in exports]


# --- the table of all episodes ----------------------------------------------------------------------------------


def _table(root: Path, matches: int, rounds: int) -> list[Figure]:
    """Nothing but a catalogue, and the one file that a scan opens."""
    write_folder(root, 60, 1)
    catalogue_of(root).unlink()
    catalogue(root, _exports(60), matches)

    def bare() -> None:
        with closing(sqlite3.connect(catalogue_of(root))) as db:
            if len(db.execute("SELECT * FROM episode_player").fetchall()) != PLAYERS * matches:
                raise AssertionError("rows are missing")

    def table() -> None:
        if rollgym.episodes(root).num_rows != PLAYERS * matches:
            raise AssertionError("rows are missing")

    def scan() -> None:
        rollgym.scan(root)

    read, listed, scanned = interleaved([bare, table, scan], rounds)
    name = f"{PLAYERS * matches:,} rows"
    return [
        figure(f"sqlite3, {name}", read * 1e3, "ms", None, "the baseline"),
        figure(f"episodes(), {name}", listed, "s", at_most(listed, 1.0)),
        figure(f"episodes() against sqlite3, {name}", listed / read, "x"),
        figure(f"scan() itself, {matches:,} episodes", scanned, "s"),
    ]


def match_id(number: int) -> str:
    """The id of the match of that number."""
    return f"m{number:024x}"


def catalogue(root: Path, exports: list[Export], matches: int) -> None:
    """A catalogue of so many matches of one episode each. All but the first are copied in it: to commit each on its
    own would take minutes."""
    header = exports[0].header

    async def first() -> None:
        place = SqliteCatalogue(catalogue_of(root))
        about = (match_id(0), "study", "c0", "c0ffee", header.match_seed, header.game, header.settings)
        match = MatchRow(*about, header.participants, ({"python": "3.11"},) * PLAYERS, 1.7e9, 1.7e9 + 60)
        await place.add_match(match, (b"left", b"right"))
        for player, export in enumerate(exports):
            length, status = export.header.frames, export.header.status
            await place.add_upload(UploadRow(match.id, 0, player, b"", export.digest, 9, length, status, 1.7e9))
        counted = [EpisodePlayerRow(player, "tracker", 0.0, 30.0, 1.0, 9, 9, 9, 0, 0.05) for player in range(PLAYERS)]
        verdict = EpisodeRow(
            *(match.id, 0, "verified", "", (0, 1), header.frames, header.status, header.seed, exports[0].digest, None),
            *(("canonical.parquet", "player_0.parquet", "player_1.parquet"), 1.7e9, tuple(counted)),
        )
        await place.set_verdict(verdict)
        await asyncio.to_thread(place.close)

    asyncio.run(first())
    with closing(sqlite3.connect(catalogue_of(root))) as db, db:
        for table, key in (("match", "id"), *((name, "match") for name in ("player", "upload", "episode"))):
            _copy(db, table, key, matches)
        _copy(db, "episode_player", "match", matches)


def _copy(db: sqlite3.Connection, table: str, key: str, matches: int) -> None:
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    changed = {key: ":id", "condition": "'c' || (:number % 4)", "ticket_hash": "randomblob(16)"}
    values = ", ".join(changed.get(name, name) for name in names)
    query = f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE {key} = '{match_id(0)}'"
    db.executemany(query, [{"id": match_id(number), "number": number} for number in range(1, matches)])


if __name__ == "__main__":
    raise SystemExit(main(run))
