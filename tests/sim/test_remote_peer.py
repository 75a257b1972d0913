"""What a peer knows of another one: round trip, timing, losses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.peer.remote_peer import RTT_SMOOTHING, LossMeter, RemotePeer, timestamp
from rollgym.protocol.packets import NO_ECHO, Input


def packet(now: float, *, echo: tuple[int, int] = (0, NO_ECHO), current: int = 0, sequence: int = 0) -> Input:
    return Input(0, 0, (), current, 0, (-1, -1), (False, False), timestamp(now), *echo, -1, 0, sequence, 0)


def exchange(
    one: RemotePeer, two: RemotePeer, now: float, there: float, held: float, back: float, sequence: int
) -> None:
    """A packet from ``one``'s side to ``two``'s, and one back ``held`` seconds after it came."""
    two.on_packet(packet(now, echo=one.echo(now), sequence=sequence), now + there, 0)
    answered = now + there + held
    one.on_packet(packet(answered, echo=two.echo(answered), sequence=sequence), answered + back, 0)


def test_the_round_trip_leaves_out_the_time_a_packet_was_held() -> None:
    one, two = RemotePeer(1, 2, 0.0), RemotePeer(0, 2, 0.0)
    assert math.isnan(one.rtt)
    exchange(one, two, 5.0, 0.040, 0.5, 0.060, 1)
    assert one.rtt == pytest.approx(0.1, abs=0.0003)
    exchange(one, two, 6.0, 0.140, 0.01, 0.060, 2)
    assert one.rtt == pytest.approx(0.1 + RTT_SMOOTHING * 0.1, abs=0.0003)


def test_the_clock_may_wrap() -> None:
    wraps = (1 << 32) / 10_000
    one, two = RemotePeer(1, 2, 0.0), RemotePeer(0, 2, 0.0)
    exchange(one, two, wraps - 0.02, 0.04, 0.0, 0.04, 1)
    assert one.rtt == pytest.approx(0.08, abs=0.0003)


@given(echo=st.integers(0, (1 << 32) - 1), age=st.integers(0, NO_ECHO), now=st.floats(0, 1e6))
def test_nonsense_does_not_make_a_round_trip_of_minutes(echo: int, age: int, now: float) -> None:
    remote = RemotePeer(1, 2, 0.0)
    remote.on_packet(packet(now, echo=(echo, age)), now, 0)
    assert math.isnan(remote.rtt) or 0.0 <= remote.rtt < 60.0


def test_an_overtaken_packet_says_nothing_about_the_present() -> None:
    remote = RemotePeer(1, 2, 0.0)
    remote.on_packet(packet(1.0, current=50, sequence=8), 1.0, 50)
    remote.on_packet(packet(0.9, current=20, sequence=5), 1.0, 50)
    assert remote.current == 50
    assert remote.sync.local == 0.0


def test_an_episode_starts_with_nothing_known() -> None:
    remote = RemotePeer(1, 2, 0.0)
    remote.on_packet(packet(1.0, current=50), 1.0, 40)
    remote.acked, remote.end_acked = 30, True
    remote.start_episode()
    assert (remote.acked, remote.current, remote.end, remote.end_acked, remote.sync.ahead) == (-1, 0, None, False, 0.0)
    assert remote.known == (-1, -1)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_loss_is_measured_from_gaps(share: float) -> None:
    meter = LossMeter()
    every = round(1 / share) if share else 1 << 30
    for sequence in range(2000, 2000 + 64 * 40):
        if sequence % every:
            meter.count(sequence & 0xFFFF)
    assert meter.loss == pytest.approx(share, abs=0.03)
    assert meter.as_byte == round(meter.loss * 255)


def test_reordered_packets_are_not_lost() -> None:
    meter = LossMeter()
    for block in range(0, 64 * 40, 4):
        for step in (2, 0, 3, 1):
            meter.count((block + step) & 0xFFFF)
    assert meter.loss < 0.02


def test_sequence_numbers_wrap() -> None:
    meter = LossMeter()
    for sequence in range(3 * 65536):
        assert meter.count(sequence & 0xFFFF)
    assert meter.loss < 0.02
