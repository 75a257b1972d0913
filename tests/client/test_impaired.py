"""The impaired transport: every packet's fate is its channel's, and its delay is exact."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from rollgym.client_sim.network_model import Link, NetworkConditions
from rollgym.client_sim.transport.impaired import ImpairedTransport
from tests.client.fakes import Hub, MemoryTransport
from tests.client.virtual import clock, run


def _fates(seed: int, link: Link) -> list[tuple[int, float]]:
    """When each of 200 packets reaches the inner transport."""

    async def main() -> list[tuple[int, float]]:
        inner = MemoryTransport(Hub(clock), 0)
        wire = ImpairedTransport(inner, link, player=0, players=2, seed=seed, clock=clock)
        await wire.open(lambda *_: None, lambda _: None)
        began = clock()
        for number in range(200):
            wire.send(1, number.to_bytes(2, "little"))
            await asyncio.sleep(1 / 60)  # of the virtual loop: takes no time
        await wire.close(2.0)
        return [(int.from_bytes(data, "little"), round(at - began, 6)) for at, _, data in inner.sent]

    return run(main())


def test_the_same_seed_gives_every_packet_the_same_fate() -> None:
    link = Link.both(
        NetworkConditions(
            loss=0.1, latency=0.05, jitter=0.03, reorder=0.1, duplicate=0.1, burst_start=0.02, burst_length=3
        )
    )
    first = _fates(1, link)
    assert first == _fates(1, link)
    assert first != _fates(2, link)
    order = [number for number, _ in first]
    assert order != sorted(order)
    assert len(set(order)) < len(order)


def test_every_packet_leaves_exactly_when_its_channel_says() -> None:
    link = Link.both(NetworkConditions(latency=0.05, jitter=0.05, reorder=0.2))
    channel = link.channel(0, 1, 1)
    expected = [(n, time) for n in range(200) for time in channel.deliveries(n / 60, 2)]
    assert any(a > b for (_, a), (_, b) in pairwise(expected))  # some overtake others that were waiting already
    assert dict(_fates(1, link)) == pytest.approx(dict(expected), abs=1e-5)


def test_a_stream_stays_in_order_even_where_packets_arrive_together() -> None:
    order = [
        n for n, _ in _fates(1, Link.both(NetworkConditions(loss=0.05, latency=0.05, jitter=0.01, retransmit=0.2)))
    ]
    assert order == list(range(200))


def test_closing_without_grace_drops_what_is_held_back() -> None:
    async def main() -> None:
        inner = MemoryTransport(Hub(clock), 0)
        link = Link.both(NetworkConditions(latency=0.5))
        wire = ImpairedTransport(inner, link, player=0, players=3, seed=1, clock=clock)
        await wire.open(lambda *_: None, lambda _: None)
        wire.send(0xFF, b"to everyone")
        assert wire.stats()["impairment"].keys() == {"1", "2"}
        began = clock()
        await wire.close(0.0)
        assert clock() == began
        assert inner.sent == []

    run(main())


def test_closing_with_grace_lets_held_packets_out() -> None:
    async def main() -> None:
        inner = MemoryTransport(Hub(clock), 0)
        wire = ImpairedTransport(
            inner, Link.both(NetworkConditions(latency=0.1)), player=0, players=3, seed=1, clock=clock
        )
        await wire.open(lambda *_: None, lambda _: None)
        wire.send(0xFF, b"to everyone")
        began = clock()
        await wire.close(1.0)
        assert clock() - began == pytest.approx(0.1, abs=1e-6)
        assert [(destination, data) for _, destination, data in inner.sent] == [
            (1, b"to everyone"),
            (2, b"to everyone"),
        ]

    run(main())
