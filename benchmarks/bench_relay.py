"""The data relay: packets a second that one core of the server carries, against a bare WebSocket echo."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.measuring import Report, figure, main
from benchmarks.servers import ECHO_PATH, bare_echo, cpu_seconds, on_relay, paired, real_server, serving, settings_for
from rollgym.client_sim.transport.relay import RelaySocket
from rollgym.server.settings import Play

PACKET = bytes(80)
"""About what an input packet of two players has."""

IN_FLIGHT = 16
"""Packets under way in each direction: the server always has something to do, and no buffer overflows."""

NOTES = """
Processor time of the server process alone, event loop and kernel calls included, on one core with uvloop; the smallest
of several turns. A packet of 80 bytes comes in over one WebSocket and goes out over one. The real server reads the
ticket, keeps to a rate limit, looks up the receiver, watches its buffer and counts; the echo sends back what it got.

A client sends from a tick that never waits: aiohttp's coroutine is stepped once, or becomes a task. Processor time of
this process, on asyncio's own event loop as in a client, with the pass of the event loop that follows a tick.
"""


def run(quick: bool) -> Report:
    """Measure."""
    packets, rounds = (200, 1) if quick else (20_000, 5)
    echo, relay = uvloop.run(_measure(packets, rounds))
    stepped, task = asyncio.run(_measure_sending(packets, rounds))
    return Report(
        "Data relay",
        [
            figure("bare aiohttp echo", 1 / echo, "packets/s", None, "the baseline"),
            figure("relay", 1 / relay, "packets/s"),
            figure("relay", relay * 1e6, "us a packet"),
            figure("relay against echo", echo / relay, "of its rate"),
            figure("a client sends, as a task", task * 1e6, "us a packet", None, "the baseline"),
            figure("a client sends, one step of the coroutine", stepped * 1e6, "us a packet"),
            figure("step against task", stepped / task, "of its time"),
        ],
        NOTES,
    )


async def _measure(packets: int, rounds: int) -> tuple[float, float]:
    """Seconds of processor time per packet: echo, relay."""
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(Path(folder), Play(episodes=1), 1)
        with serving(bare_echo, None) as echo_url, serving(real_server, settings) as url:
            async with (
                aiohttp.ClientSession() as http,
                paired(url) as (one, two),
                on_relay(http, url, one) as first,
                on_relay(http, url, two) as second,
                http.ws_connect(echo_url + ECHO_PATH, compress=0) as third,
                http.ws_connect(echo_url + ECHO_PATH, compress=0) as fourth,
            ):
                best = [float("inf"), float("inf")]
                for _ in range(rounds):
                    echoed = await _timed(http, echo_url, (third, fourth), (PACKET, PACKET), packets)
                    # The first byte names the receiver.
                    addressed = (b"\1" + PACKET, b"\0" + PACKET)
                    relayed = await _timed(http, url, (first, second), addressed, packets)
                    best = [min(best[0], echoed), min(best[1], relayed)]
                return best[0], best[1]


async def _measure_sending(packets: int, rounds: int) -> tuple[float, float]:
    """Seconds of processor time per packet that a client sends: one step of the coroutine, a task."""
    best = [float("inf"), float("inf")]
    with serving(bare_echo, None) as url:
        async with (
            aiohttp.ClientSession(ws_response_class=RelaySocket) as http,
            http.ws_connect(url + ECHO_PATH, compress=0) as ws,
        ):
            assert isinstance(ws, RelaySocket)
            for _ in range(rounds):
                for way, as_task in enumerate((False, True)):
                    best[way] = min(best[way], await _sending(ws, packets, as_task=as_task))
    return best[0], best[1]


async def _sending(ws: RelaySocket, count: int, *, as_task: bool) -> float:
    seconds = 0.0
    for _ in range(count // IN_FLIGHT):
        before = time.process_time()
        for _ in range(IN_FLIGHT):
            if as_task:
                task = asyncio.create_task(ws.send_bytes(PACKET))
                await asyncio.sleep(0)
                assert task.done()
            else:
                ws.post(PACKET)
                await asyncio.sleep(0)
        seconds += time.process_time() - before
        for _ in range(IN_FLIGHT):
            await ws.receive_bytes()
    return seconds / (count // IN_FLIGHT * IN_FLIGHT)


async def _timed(
    http: aiohttp.ClientSession,
    url: str,
    sockets: tuple[aiohttp.ClientWebSocketResponse, aiohttp.ClientWebSocketResponse],
    packets: tuple[bytes, bytes],
    count: int,
) -> float:
    before = await cpu_seconds(http, url)
    await asyncio.gather(*(_pump(ws, packet, count) for ws, packet in zip(sockets, packets, strict=True)))
    return (await cpu_seconds(http, url) - before) / (2 * count)


async def _pump(ws: aiohttp.ClientWebSocketResponse, packet: bytes, count: int) -> None:
    """Receive ``count`` packets, and send as many: one for each that came, after the first ones."""
    for _ in range(min(IN_FLIGHT, count)):
        await ws.send_bytes(packet)
    for received in range(1, count + 1):
        data = await ws.receive_bytes()
        if len(data) != len(packet):
            raise AssertionError(f"a packet of {len(data)} bytes came, not of {len(packet)}")
        if received + IN_FLIGHT <= count:
            await ws.send_bytes(packet)


if __name__ == "__main__":
    raise SystemExit(main(run))
