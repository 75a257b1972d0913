"""The runtime: it wakes the peer when the peer wants, carries packets both ways, and always comes to an end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from rollgym.client_sim.network import Link, NetworkConditions
from rollgym.client_sim.runtime import FLUSH, STOP_LIMIT, Runtime
from rollgym.client_sim.transport.impaired import ImpairedTransport
from rollgym.client_sim.transport.interface import Transport, TransportError
from tests.client.fakes import Hub, MemoryTransport, TickingPeer
from tests.client.virtual import advance, clock, run


class Setup:
    """One runtime with a fake peer; made inside of the virtual loop."""

    def __init__(self, hub: Hub | None = None, transport: Transport | None = None, **peer: Any) -> None:
        self.hub = hub or Hub(clock)
        self.peer = TickingPeer(clock(), **peer)
        self.wire = self.hub.transport(self.peer.player)
        self.exports: list[Any] = []
        self.events: list[Any] = []
        self.runtime = Runtime(
            self.peer,
            transport or self.wire,
            on_export=self.exports.append,
            on_event=self.events.append,
            clock=clock,
        )


def test_ticks_keep_the_peers_times_without_drift() -> None:
    async def main() -> None:
        setup = Setup(frames=600)
        began = clock()
        await setup.runtime.run()
        assert setup.peer.frame == 600
        assert setup.peer.polls == pytest.approx([began + i / 60 for i in range(600)], abs=1e-6)
        ticks = setup.runtime.stats()["runtime"]
        assert ticks["ticks"] == 599  # the first poll is not a wakeup
        assert ticks["late_ticks"] == 0
        assert setup.wire.closed_with == FLUSH

    run(main())


def test_packets_go_both_ways() -> None:
    async def main() -> None:
        hub = Hub(clock)
        first, second = Setup(hub, player=0, frames=60), Setup(hub, player=1, frames=60)
        await asyncio.gather(first.runtime.run(), second.runtime.run())
        for here, there in ((first, second), (second, first)):
            numbers = [int.from_bytes(data, "little") for _, data, _ in here.peer.received]
            assert len(numbers) >= 58  # the first and the last may find the other not there
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert {source for source, _, _ in here.peer.received} == {there.peer.player}

    run(main())


def test_a_late_tick_is_measured_and_the_next_one_keeps_its_time() -> None:
    async def main() -> None:
        setup = Setup(frames=30)
        began = clock()
        asyncio.get_running_loop().call_later(9.5 / 60, advance, 0.020)  # the process is away for 20 ms
        await setup.runtime.run()
        ticks = setup.runtime.stats()["runtime"]
        assert ticks["late_ticks"] == 1
        assert ticks["worst_lateness"] == pytest.approx(0.020 - 0.5 / 60, abs=1e-6)
        assert ticks["lateness_histogram"]["16"] == 1
        assert setup.peer.polls[-1] == pytest.approx(began + 29 / 60, abs=1e-6)

    run(main())


def test_a_tick_longer_than_its_frame_makes_the_next_one_late() -> None:
    async def main() -> None:
        setup = Setup(frames=30)
        setup.peer.on_poll = lambda: advance(0.030) if setup.peer.frame == 10 else None
        await setup.runtime.run()
        ticks = setup.runtime.stats()["runtime"]
        assert ticks["worst_tick"] == pytest.approx(0.030, abs=1e-6)
        assert ticks["worst_lateness"] == pytest.approx(0.030 - 1 / 60, abs=1e-6)
        assert ticks["late_ticks"] == 1

    run(main())


def test_a_packet_wakes_a_peer_that_wants_it() -> None:
    async def main() -> None:
        setup = Setup(frames=3, fps=1.0)
        began = clock()

        def arrive() -> None:
            setup.peer.wants = 0.0  # stalled since long ago, and free to go on now
            assert setup.wire.on_packet is not None
            setup.wire.on_packet(1, b"x", clock())

        asyncio.get_running_loop().call_later(0.25, arrive)
        await setup.runtime.run()
        assert setup.peer.polls == pytest.approx([began, began + 0.25, began + 1, began + 2], abs=1e-6)
        assert setup.runtime.stats()["runtime"]["worst_lateness"] < 1e-6  # the peer's waiting is no lateness of ours

    run(main())


def test_a_packet_that_changes_nothing_does_not_wake_the_peer() -> None:
    async def main() -> None:
        setup = Setup(frames=2, fps=1.0)
        asyncio.get_running_loop().call_later(0.25, lambda: setup.wire.on_packet and setup.wire.on_packet(1, b"x", 0.0))
        await setup.runtime.run()
        assert len(setup.peer.received) == 1
        assert len(setup.peer.polls) == 2

    run(main())


def test_stop_ends_the_match_at_once_and_hands_over_what_there_is() -> None:
    async def main() -> None:
        setup = Setup(frames=10**9)
        began = clock()
        asyncio.get_running_loop().call_later(1.0, setup.runtime.stop)
        await setup.runtime.run()
        assert setup.peer.stopped_at == pytest.approx(began + 1.0, abs=1e-6)
        assert clock() - began < 1.0 + STOP_LIMIT
        assert setup.peer.frame >= 60
        assert setup.events == ["stopped"]
        assert setup.wire.closed_with == STOP_LIMIT

    run(main())


def test_a_peer_that_will_not_end_is_left_behind() -> None:
    async def main() -> None:
        setup = Setup(frames=10**9)
        setup.peer.lingers = True
        began = clock()
        asyncio.get_running_loop().call_later(1.0, setup.runtime.stop)
        await setup.runtime.run()
        assert clock() - began == pytest.approx(1.0 + STOP_LIMIT, abs=0.01)

    run(main())


def test_a_lost_transport_stops_the_peer() -> None:
    async def main() -> None:
        setup = Setup(frames=10**9)
        asyncio.get_running_loop().call_later(0.5, lambda: setup.wire.on_lost and setup.wire.on_lost("cable cut"))
        await setup.runtime.run()
        assert setup.runtime.lost == "cable cut"
        assert setup.events == ["stopped"]
        assert setup.peer.frame >= 30

    run(main())


def test_a_transport_that_does_not_open_is_an_error_and_stops_the_peer() -> None:
    async def main() -> None:
        setup = Setup()
        setup.wire.refuse = "no route"
        with pytest.raises(TransportError, match="no route"):
            await setup.runtime.run()
        assert setup.events == ["stopped"]
        assert setup.wire.closed_with is not None

    run(main())


def test_cancelling_hands_over_what_there_is() -> None:
    async def main() -> None:
        setup = Setup(frames=10**9)
        task = asyncio.ensure_future(setup.runtime.run())
        asyncio.get_running_loop().call_later(0.5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert setup.events == ["stopped"]
        assert setup.wire.closed_with == STOP_LIMIT

    run(main())


@pytest.mark.parametrize("where", ["poll", "receive", "export"])
def test_what_a_callback_raises_comes_out_of_run(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        setup = Setup(frames=60)

        def fail(*_: Any) -> None:
            raise ZeroDivisionError(where)

        if where == "poll":
            setup.peer.on_poll = lambda: fail() if setup.peer.frame == 30 and setup.peer.stopped_at is None else None
        elif where == "receive":
            monkeypatch.setattr(setup.peer, "receive", fail)
            asyncio.get_running_loop().call_later(
                0.5, lambda: setup.wire.on_packet and setup.wire.on_packet(1, b"x", clock())
            )
        else:
            setup.runtime._on_export = fail
            export: Any = "an export"
            asyncio.get_running_loop().call_later(0.5, lambda: setup.peer.exports.append(export))
        with pytest.raises(ZeroDivisionError, match=where):
            await setup.runtime.run()
        assert 25 <= setup.peer.frame <= 40
        assert setup.wire.closed_with is not None

    run(main())


def test_the_servers_word_that_a_player_left_reaches_the_peer() -> None:
    async def main() -> None:
        setup = Setup(frames=60)
        setup.runtime.player_left(1)  # before the transport is open
        asyncio.get_running_loop().call_later(0.5, setup.runtime.player_left, 1)
        await setup.runtime.run()
        assert setup.peer.left == [1, 1]

    run(main())


def test_an_impaired_transport_delays_what_it_carries() -> None:
    async def main() -> None:
        hub = Hub(clock)
        link = Link.both(NetworkConditions(latency=0.04, loss=0.2))
        receiver = Setup(hub, player=1, frames=90)
        wire = ImpairedTransport(hub.transport(0), link, player=0, players=2, seed=3, clock=clock)
        sender = Setup(hub, wire, player=0, frames=60)
        await asyncio.gather(receiver.runtime.run(), sender.runtime.run())
        assert 30 <= len(receiver.peer.received) < 60
        for _, data, arrived in receiver.peer.received:
            assert arrived - sender.peer.polls[int.from_bytes(data, "little") - 1] == pytest.approx(0.04, abs=1e-6)
        stats = sender.runtime.stats()["transport"]["impairment"]["1"]
        assert (stats["sent"], stats["lost"]) == (60, 60 - len(receiver.peer.received))

    run(main())


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
