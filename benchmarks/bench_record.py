"""The record: what it costs while playing, how large an episode is on disk, how fast two are compared."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.bench_synctest import benchmark_inputs
from benchmarks.matches import scenario
from benchmarks.measuring import Figure, Report, at_most, figure, interleaved, main
from rollgym.client_sim.exports.export_files import keep_export
from rollgym.client_sim.network_model import link
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback import Session, SessionProgress, SessionSettings
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.dataset.compare import compare_paths
from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.contract import JointInput
from rollgym.games.registry import default_policy
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, content_digest
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.files.parquet import write_episode
from rollgym.protocol.messages import PlaySettings

NOTES = """
Overhead: a session of drift whose remote inputs come one frame late and change every 4 frames, with the recorder and
without. The recorder builds both agents' observations of every frame, keeps both buffers and every frame's history,
and makes the columns of the export at the end, which is counted; a peer that plays without recording would still have
to build its own policy's observation.

Size: one peer's export of one episode as Parquet, all of it (both agents' observations, digests, times, rollback
events, what the policy saw), against CSV with the columns that MUG writes for the same data (actions.X, rewards.X,
terminateds.X, truncateds.X, infos.X.key, wasSpeculative.X, episode_num, t, timestamp, rollbackEvents) and the
observations. The CSV has no digests, round trips or provenance.

Compare: two files of one episode, read, checked and compared bit for bit.
"""


def run(quick: bool) -> Report:
    """Measure."""
    figures = _overhead(quick)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for game, frames, few in (("drift", 450, 60), ("pong", 1_800, 300), ("overcooked", 450, 90)):
            figures += _sizes(game, few if quick else frames, folder)
        figures += _compare(10_000 if quick else 1_000_000, folder, 1 if quick else 3)
    return Report("Record", figures, NOTES)


# --- while playing ----------------------------------------------------------------------------------------------


def _overhead(quick: bool) -> list[Figure]:
    frames, rounds = (500, 1) if quick else (10_000, 5)
    inputs = [joint for joint in benchmark_inputs(frames // 4 + 1) for _ in range(4)]
    bare, recorded = interleaved([lambda: _play(inputs, False), lambda: _play(inputs, True)], rounds)
    bare, recorded = bare / len(inputs) * 1e6, recorded / len(inputs) * 1e6
    return [
        figure("session of drift, no recorder", bare, "us a frame", None, "the baseline"),
        figure("session of drift, recorded and exported", recorded, "us a frame"),
        figure("recording", recorded - bare, "us a frame"),
        figure("recording", (recorded - bare) / bare, "x baseline"),
    ]


def _play(inputs: list[JointInput], record: bool) -> None:
    game = Drift()
    recorder = EpisodeRecorder(game, game.reset(1), 0) if record else None
    settings = SessionSettings(input_delay=0, max_prediction=8)
    session = Session(game, game.spec.default_inputs, (0,), settings, recorder=recorder)
    for frame, (local, _) in enumerate(inputs):
        if frame:
            session.add_inputs(1, frame - 1, (inputs[frame - 1][1],))
        if session.settle() is not SessionProgress.READY:
            raise AssertionError(f"stalled at frame {frame}")
        session.step((local,))
    if session.stats.rollbacks < len(inputs) // 8:
        raise AssertionError(f"{session.stats.rollbacks} rollbacks in {len(inputs)} frames")
    if recorder is not None:
        recorder.build()
        recorder.own_columns()


# --- on disk ----------------------------------------------------------------------------------------------------


def _sizes(game: str, frames: int, folder: Path) -> list[Figure]:
    settings = PlaySettings(episodes=1, fps=60.0, frame_limit=frames, input_delay=0, max_prediction=8)
    policy = default_policy(game)
    parameters = {"points": 99} if game == "pong" else {}
    played = scenario(game, settings, link("constant_50"), policy=policy, parameters=parameters)
    export = simulate(played).players[0].exports[0]
    if export.header.frames != frames or not export.own.rollbacks:
        raise AssertionError(f"{export.header.frames} frames, {len(export.own.rollbacks)} rollbacks")
    parquet = keep_export(export, folder).stat().st_size
    path = folder / f"{game}.csv"
    _write_csv(path, export)
    text = path.stat().st_size
    name = f"{game}, {frames} frames"
    return [
        figure(f"{name}: Parquet", parquet / 1024, "KiB", None, f"{parquet / frames:.0f} bytes a frame"),
        figure(f"{name}: CSV", text / 1024, "KiB"),
        figure(f"{name}: Parquet against CSV", parquet / text, "x", at_most(parquet / text, 1.0)),
    ]


def _write_csv(path: Path, export: Export) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(_csv_columns(export)))
        writer.writeheader()
        writer.writerows(_csv_rows(export))


def _csv_columns(export: Export) -> Iterator[str]:
    agents = export.header.game.agents
    for part in ("actions", "rewards", "terminateds", "truncateds", "wasSpeculative"):
        yield from (f"{part}.{agent}" for agent in agents)
    yield from sorted({f"infos.{agents[info.agent]}.{info.key}" for info in export.canonical.infos})
    yield from (name.replace("/", ".") for name in export.canonical.columns if name.startswith("observations/"))
    yield from ("episode_num", "t", "timestamp", "rollbackEvents")


def _csv_rows(export: Export) -> Iterator[dict[str, Any]]:
    header, own = export.header, export.own
    agents = header.game.agents
    columns = {name: column.array().tolist() for name, column in export.canonical.columns.items()}
    mine = {name: own.columns[name].array().tolist() for name in ("was_speculative", "time")}
    infos: dict[int, dict[str, Any]] = {}
    for info in export.canonical.infos:
        infos.setdefault(info.row, {})[f"infos.{agents[info.agent]}.{info.key}"] = unpack_value(info.value)
    events: dict[int, list[dict[str, Any]]] = {}
    for event in own.rollbacks:
        plain = {**msgspec.structs.asdict(event), "predicted": event.predicted.hex(), "actual": event.actual.hex()}
        events.setdefault(event.at_frame, []).append(plain)
    for frame in range(header.frames):
        row: dict[str, Any] = {"episode_num": header.episode, "t": frame}
        row["timestamp"] = own.started_at + mine["time"][frame]
        row["rollbackEvents"] = json.dumps(events.get(frame, []))
        for index, agent in enumerate(agents):
            row[f"actions.{agent}"] = columns[f"actions/{agent}"][frame][0]
            row[f"rewards.{agent}"] = columns["rewards"][frame][index]
            row[f"terminateds.{agent}"] = columns["terminations"][frame][index]
            row[f"truncateds.{agent}"] = columns["truncations"][frame][index]
            row[f"wasSpeculative.{agent}"] = mine["was_speculative"][frame]
        for name, values in columns.items():
            if name.startswith("observations/"):
                row[name.replace("/", ".")] = json.dumps(values[frame])
        row.update(infos.get(frame + 1, {}))
        yield row


# --- comparing --------------------------------------------------------------------------------------------------


def _compare(frames: int, folder: Path, rounds: int) -> list[Figure]:
    """Two equal files of a long episode."""
    settings = PlaySettings(episodes=1, fps=60.0, frame_limit=1_000, input_delay=0, max_prediction=8)
    short = simulate(scenario("drift", settings, link("lan"))).players[0].exports[0]
    paths = [folder / "one.parquet", folder / "two.parquet"]
    export = lengthened(short, frames)
    for path in paths:
        write_episode(path, export.header, export.canonical, None, {})

    def compare() -> None:
        if not compare_paths(paths[0], paths[1]).identical:
            raise AssertionError("equal files differ")

    (seconds,) = interleaved([compare], rounds)
    size = paths[0].stat().st_size / 2**20
    return [
        figure(f"compare, {frames:,} frames", seconds, "s", at_most(seconds, 10.0), f"2 x {size:.0f} MiB"),
        figure("compare", frames / seconds, "frames/s"),
    ]


def lengthened(export: Export, frames: int) -> Export:
    """An episode of ``frames`` frames: states vary as those of a long one would, and so compress no better."""
    rng = np.random.default_rng(1)
    columns = {}
    for name, column in export.canonical.columns.items():
        rows = frames + column.shape[0] - export.header.frames
        shape = (rows, *column.shape[1:])
        if name.startswith("observations/"):
            values = rng.integers(0, 1024, shape).astype(column.dtype)
        elif name == "state_digest":
            values = rng.integers(0, 2**64, shape, dtype=np.uint64)
        else:
            values = np.resize(column.array(), shape)
        columns[name] = Column.of(values)
    columns["frame"] = Column.of(np.arange(frames, dtype=np.uint32))
    canonical = Canonical(columns, export.canonical.infos)
    header = msgspec.structs.replace(export.header, frames=frames, status="aborted")
    return Export(header, canonical, export.own, content_digest(header, canonical))


if __name__ == "__main__":
    raise SystemExit(main(run))
