"""Ingest: durable, audited episodes a second on one core, against writing the same Parquet files and nothing else."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import uvloop

from benchmarks.ingest_steps import ingest_steps
from benchmarks.matches import FaceToFace
from benchmarks.measuring import Report, figure, main
from benchmarks.servers import WAIT, Seat, cpu_by_place, on_relay, paired, real_server, serving, settings_for
from rollgym.protocol.addresses import resolved
from rollgym.protocol.episode.export import Canonical, Export, Header, Own
from rollgym.protocol.episode.export_body import encode_export
from rollgym.protocol.files.durable import publish, sync_file
from rollgym.protocol.files.parquet import write_episode
from rollgym.server.settings import Play

AT_ONCE = (1, 4, 20)
"""Uploads under way at a time. The middle one is the figure that is compared between versions."""

NOTES = """
Episodes of drift, played by two peers over an input delay of 0; real exports, uploaded over HTTP, several at a time.
Rates are per second of processor time, of the server process and its two workers together: the one that checks uploads
and the one that judges. An episode counts when both players' exports were acknowledged (which they are when file and
catalogue are on disk), compared, simulated again from seed and inputs, and its three Parquet files are on disk under
their names. Bare: the same three files, synced and renamed, from exports that are in memory. Between the two lie HTTP,
decoding and checking what nobody trusts, the inbox file, the catalogue, parity and the audit.

"In the server" is the processor time of one episode (two uploads, one verdict), by thread and by worker. "Step" is the
same of one step, done alone in this process.
"""


class Found(NamedTuple):
    """Of one round, an episode: seconds."""

    places: dict[str, float]
    """Processor time, by thread of the server process and by worker."""
    wall: float
    bare: float
    bare_wall: float
    steps: dict[str, float]
    body: float
    """Bytes of an upload, mean."""

    @property
    def server(self) -> float:
        return sum(self.places.values())


def run(quick: bool) -> Report:
    """Measure."""
    episodes, frames, rounds = (2, 60, 1) if quick else (40, 450, 2)
    found = {at_once: [uvloop.run(_measure(episodes, frames, at_once)) for _ in range(rounds)] for at_once in AT_ONCE}
    every = [one for several in found.values() for one in several]
    bare = min(one.bare for one in every)
    best = {at_once: min(several, key=lambda one: one.server) for at_once, several in found.items()}
    usual = best[AT_ONCE[1]]
    size = f"{frames} frames, 2 uploads of {usual.body / 1024:.0f} KiB"
    figures = [
        figure("Parquet files bare", 1 / bare, "episodes/s", None, "the baseline"),
        figure("server", 1 / usual.server, "episodes/s", None, size),
        figure("Parquet files bare", bare * 1e3, "ms an episode"),
    ]
    for at_once, one in best.items():
        figures.append(figure(f"server, {at_once} at once", one.server * 1e3, "ms an episode"))
    for at_once, one in best.items():
        figures.append(figure(f"server against bare, {at_once} at once", one.server / bare, "x"))
    for at_once, several in found.items():
        wall = min(one.wall for one in several)
        figures.append(figure(f"wall clock, {at_once} at once", 1 / wall, "episodes/s", None, "with fsync and clients"))
    figures.append(figure("bare, wall clock", 1 / min(one.bare_wall for one in every), "episodes/s"))
    figures += [figure(f"in the server: {place}", taken * 1e3, "ms") for place, taken in usual.places.items()]
    for step in usual.steps:
        figures.append(figure(f"step: {step}", min(one.steps[step] for one in every) * 1e3, "ms"))
    return Report("Ingest", figures, NOTES)


async def _measure(episodes: int, frames: int, at_once: int) -> Found:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        play = Play(episodes=episodes, frame_limit=frames, input_delay=0)
        with serving(real_server, settings_for(folder / "data", play, 1)) as url:
            async with (
                aiohttp.ClientSession() as http,
                paired(url) as seats,
                on_relay(http, url, seats[0]),
                on_relay(http, url, seats[1]),
            ):
                starts = [seat.started.result() for seat in seats]
                exports = FaceToFace(starts, "drift", ("random_hold", "random_hold")).play()
                bodies = [[encode_export(export) for export in mine] for mine in exports]
                before, began = await cpu_by_place(http, url), time.perf_counter()
                await _upload(http, url, seats, bodies, at_once)
                after, wall = await cpu_by_place(http, url), time.perf_counter() - began
        if seats[0].verdicts != ["verified"] * episodes:
            raise AssertionError(f"verdicts {seats[0].verdicts}")
        bare, bare_wall = _write_bare(folder / "bare", exports)
        return Found(
            {place: (after[place] - before[place]) / episodes for place in after},
            wall / episodes,
            bare / episodes,
            bare_wall / episodes,
            ingest_steps(folder, exports, bodies),
            sum(len(body) for mine in bodies for body in mine) / (2 * episodes),
        )


async def _upload(
    http: aiohttp.ClientSession, url: str, seats: tuple[Seat, Seat], bodies: list[list[bytes]], at_once: int
) -> None:
    """Everything, and wait until the server has said its word on every episode."""
    slots = asyncio.Semaphore(at_once)

    async def put(seat: Seat, episode: int, body: bytes) -> None:
        start = seat.started.result()
        headers = {"Authorization": f"Bearer {start.ticket}", "Content-Type": "application/msgpack"}
        async with (
            slots,
            http.put(resolved(url, start.upload.replace("{episode}", str(episode))), data=body, headers=headers) as r,
        ):
            if r.status != 200:
                raise AssertionError(f"upload refused with {r.status}: {await r.text()}")

    pairs = zip(*bodies, strict=True)
    await asyncio.gather(
        *(put(seat, episode, body) for episode, two in enumerate(pairs) for seat, body in zip(seats, two, strict=True))
    )
    for seat in seats:
        await seat.control.finished(len(bodies[0]))
    for seat in seats:
        await asyncio.wait_for(seat.over.wait(), WAIT)


def _write_bare(folder: Path, exports: list[list[Export]]) -> tuple[float, float]:
    """Write each episode's three files durably; processor time and wall time."""
    temporary = folder / "one.part"
    folder.mkdir()
    cpu, began = time.process_time(), time.perf_counter()
    for number, (one, two) in enumerate(zip(*exports, strict=True)):
        parts: list[tuple[str, Header, Canonical | None, Own | None]] = [
            ("canonical", one.header, one.canonical, None),
            ("player_0", one.header, None, one.own),
            ("player_1", two.header, None, two.own),
        ]
        for name, header, canonical, own in parts:
            write_episode(temporary, header, canonical, own, {})
            sync_file(temporary)
            publish(temporary, folder / f"episode_{number:06d}" / f"{name}.parquet")
    return time.process_time() - cpu, time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main(run))
