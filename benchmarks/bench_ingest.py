"""Ingest: durable, audited episodes a second on one core, against writing the same Parquet files and nothing else."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import uvloop

from benchmarks.matches import FaceToFace
from benchmarks.measuring import Report, figure, main
from benchmarks.servers import WAIT, Seat, cpu_seconds, on_relay, paired, real_server, serving, settings_for
from rollgym.protocol.episode.export import Canonical, Export, Header, Own, encode_export
from rollgym.protocol.files.durable import publish, sync_file
from rollgym.protocol.files.parquet import write_episode
from rollgym.server.settings import Play

AT_ONCE = 4
"""Uploads under way at a time."""

NOTES = """
Episodes of drift, played by two peers over an input delay of 0; real exports, uploaded over HTTP, several at a time.
Rates are per second of processor time, of the server process and its one worker together. An episode counts when both
players' exports were acknowledged (which they are when file and catalogue are on disk), compared, simulated again from
seed and inputs, and its three Parquet files are on disk under their names. Bare: the same three files, synced and
renamed, from exports that are in memory. Between the two lie HTTP, decoding and checking what nobody trusts, the inbox
copy, the catalogue, parity and the audit.
"""


class Found(NamedTuple):
    """Seconds for all episodes."""

    server: float
    wall: float
    bare: float
    bare_wall: float
    body: float
    """Bytes of an upload, mean."""


def run(quick: bool) -> Report:
    """Measure."""
    episodes, frames, rounds = (2, 60, 1) if quick else (40, 450, 3)
    found = [uvloop.run(_measure(episodes, frames)) for _ in range(rounds)]
    server, bare = (min(one[index] for one in found) / episodes for index in (0, 2))
    wall = min(one.wall for one in found) / episodes
    bare_wall = min(one.bare_wall for one in found) / episodes
    return Report(
        "Ingest",
        [
            figure("Parquet files bare", 1 / bare, "episodes/s", None, "the baseline"),
            figure(
                "server",
                1 / server,
                "episodes/s",
                None,
                f"{frames} frames, 2 uploads of {found[0].body / 1024:.0f} KiB",
            ),
            figure("server", server * 1e3, "ms an episode"),
            figure("server against bare", server / bare, "x"),
            figure("server, wall clock", 1 / wall, "episodes/s", None, "two processes, fsync and clients included"),
            figure("bare, wall clock", 1 / bare_wall, "episodes/s"),
        ],
        NOTES,
    )


async def _measure(episodes: int, frames: int) -> Found:
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
                before, began = await cpu_seconds(http, url), time.perf_counter()
                await _upload(http, url, seats, bodies)
                used, wall = await cpu_seconds(http, url) - before, time.perf_counter() - began
        if seats[0].verdicts != ["verified"] * episodes:
            raise AssertionError(f"verdicts {seats[0].verdicts}")
        bare, bare_wall = _write_bare(folder / "bare", exports)
        size = sum(len(body) for mine in bodies for body in mine) / (2 * episodes)
        return Found(used, wall, bare, bare_wall, size)


async def _upload(http: aiohttp.ClientSession, url: str, seats: tuple[Seat, Seat], bodies: list[list[bytes]]) -> None:
    """Everything, and wait until the server has said its word on every episode."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def put(seat: Seat, episode: int, body: bytes) -> None:
        start = seat.started.result()
        headers = {"Authorization": f"Bearer {start.ticket}", "Content-Type": "application/msgpack"}
        async with (
            slots,
            http.put(url + start.upload.replace("{episode}", str(episode)), data=body, headers=headers) as r,
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
