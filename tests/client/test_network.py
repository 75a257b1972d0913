"""The network model: what each condition does to packets, and that a seed fixes all of it."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.network_model import (
    CONDITIONS,
    PERFECT,
    Channel,
    ConditionsError,
    Link,
    NetworkConditions,
    link,
)

TICK = 1 / 60

probabilities = st.floats(0, 1, allow_nan=False)
seconds = st.floats(0, 0.5, allow_nan=False)
datagrams = st.builds(
    NetworkConditions,
    loss=probabilities,
    latency=seconds,
    jitter=seconds,
    reorder=probabilities,
    reorder_delay=seconds,
    duplicate=probabilities,
    burst_start=probabilities,
    burst_length=st.integers(1, 9),
)
streams = st.builds(
    NetworkConditions,
    loss=probabilities,
    latency=seconds,
    jitter=seconds,
    burst_start=probabilities,
    burst_length=st.integers(1, 9),
    retransmit=st.floats(0.01, 0.5),
)
gaps = st.lists(st.floats(0, 0.1, allow_nan=False), min_size=1, max_size=60)


def send(
    conditions: NetworkConditions, packets: int, seed: int = 1, gap: float = TICK
) -> tuple[Channel, list[list[float]]]:
    channel = Channel(conditions, random.Random(seed))
    return channel, [channel.deliveries(i * gap, 100) for i in range(packets)]


def delays(arrivals: list[list[float]], gap: float = TICK) -> list[float]:
    return [times[0] - i * gap for i, times in enumerate(arrivals) if times]


@given(datagrams | streams, st.integers(0, 2**32), gaps)
def test_a_seed_fixes_every_delivery(conditions: NetworkConditions, seed: int, steps: list[float]) -> None:
    first, second = (Channel(conditions, random.Random(seed)) for _ in range(2))
    now = 0.0
    for step in steps:
        now += step
        assert first.deliveries(now, 7) == second.deliveries(now, 7)


@given(datagrams, st.integers(0, 2**32), gaps)
def test_datagrams_arrive_within_their_bounds(conditions: NetworkConditions, seed: int, steps: list[float]) -> None:
    channel = Channel(conditions, random.Random(seed))
    now, arrived = 0.0, 0
    low = max(0.0, conditions.latency - conditions.jitter)
    high = conditions.latency + conditions.jitter + conditions.reorder_delay
    for step in steps:
        now += step
        times = channel.deliveries(now, 7)
        assert len(times) <= 2
        assert times == sorted(times)
        assert all(now + low - 1e-9 <= time <= now + high + 1e-9 for time in times)
        arrived += bool(times)
    assert arrived == channel.sent - channel.lost
    assert channel.sent == len(steps)
    assert channel.bytes == 7 * len(steps)


@given(streams, st.integers(0, 2**32), gaps)
def test_a_stream_delivers_everything_once_and_in_order(
    conditions: NetworkConditions, seed: int, steps: list[float]
) -> None:
    channel = Channel(conditions, random.Random(seed))
    now, last = 0.0, -math.inf
    for step in steps:
        now += step
        (arrival,) = channel.deliveries(now, 7)
        assert arrival >= max(last, now)
        last = arrival


@given(st.builds(NetworkConditions, loss=probabilities, latency=seconds), st.integers(0, 2**32), gaps)
def test_datagrams_without_jitter_and_reorder_keep_their_order(
    conditions: NetworkConditions, seed: int, steps: list[float]
) -> None:
    channel = Channel(conditions, random.Random(seed))
    now, arrivals = 0.0, []
    for step in steps:
        now += step
        arrivals += channel.deliveries(now, 7)
    assert arrivals == sorted(arrivals)


def test_a_perfect_link_delivers_at_once() -> None:
    channel, arrivals = send(PERFECT, 100)
    assert arrivals == [[i * TICK] for i in range(100)]
    assert (channel.sent, channel.bytes, channel.lost) == (100, 10_000, 0)


def test_constant_latency_is_constant() -> None:
    _, arrivals = send(NetworkConditions(latency=0.05), 500)
    assert arrivals == [[i * TICK + 0.05] for i in range(500)]


def test_loss_is_as_frequent_as_asked_for_and_independent() -> None:
    channel, arrivals = send(NetworkConditions(loss=0.15), 40_000)
    assert channel.lost / 40_000 == pytest.approx(0.15, abs=0.006)
    pairs = sum(1 for a, b in pairwise(arrivals) if not a and not b)
    assert pairs / 40_000 == pytest.approx(0.15**2, abs=0.004)


def test_jitter_is_uniform_around_the_latency() -> None:
    _, arrivals = send(NetworkConditions(latency=0.05, jitter=0.02), 40_000)
    seen = delays(arrivals)
    assert sum(seen) / len(seen) == pytest.approx(0.05, abs=0.0003)
    for low in (0.03, 0.04, 0.05, 0.06):
        assert sum(low <= d < low + 0.01 for d in seen) / len(seen) == pytest.approx(0.25, abs=0.01)


def test_jitter_above_the_latency_is_cut_off_at_no_delay() -> None:
    _, arrivals = send(NetworkConditions(latency=0.03, jitter=0.04), 40_000)
    seen = delays(arrivals)
    assert min(seen) == pytest.approx(0.0, abs=1e-9)
    assert sum(d < 1e-9 for d in seen) / len(seen) == pytest.approx(1 / 8, abs=0.006)


def test_a_reordered_packet_is_overtaken() -> None:
    channel, arrivals = send(NetworkConditions(latency=0.03, reorder=0.3), 20_000)
    times = [time for (time,) in arrivals]
    overtaken = sum(1 for a, b in pairwise(times) if b < a)
    assert channel.reordered / 20_000 == pytest.approx(0.3, abs=0.01)
    assert overtaken / 20_000 == pytest.approx(0.3 * 0.7, abs=0.01)  # the next packet overtakes unless held back too


def test_duplicates_are_as_frequent_as_asked_for_with_jitter_of_their_own() -> None:
    channel, arrivals = send(NetworkConditions(latency=0.02, jitter=0.01, duplicate=0.15), 20_000)
    twice = [times for times in arrivals if len(times) == 2]
    assert channel.duplicated == len(twice)
    assert len(twice) / 20_000 == pytest.approx(0.15, abs=0.008)
    assert all(first != second for first, second in twice)


def test_bursts_lose_runs_of_their_length() -> None:
    channel, arrivals = send(NetworkConditions(burst_start=0.02, burst_length=5), 50_000)
    runs, run = [], 0
    for times in arrivals:
        if times:
            if run:
                runs.append(run)
            run = 0
        else:
            run += 1
    # A burst may begin right behind another, so runs are whole multiples of the length.
    assert {length % 5 for length in runs} == {0}
    bursts = channel.lost / 5
    assert bursts / (50_000 - channel.lost + bursts) == pytest.approx(0.02, abs=0.002)


def test_a_lost_packet_of_a_stream_holds_up_those_behind_it() -> None:
    channel, arrivals = send(NetworkConditions(loss=0.01, latency=0.05, retransmit=0.2), 20_000)
    waits = [round((times[0] - i * TICK - 0.05) / TICK) for i, times in enumerate(arrivals)]
    assert 120 <= channel.lost <= 280
    first = waits.index(12)  # 200 ms are 12 ticks: the twelve behind it arrive together with it, the next on time
    assert waits[first : first + 13] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_more_loss_loses_the_same_packets_and_more() -> None:
    _, few = send(NetworkConditions(loss=0.05, latency=0.05, jitter=0.02), 2000)
    _, many = send(NetworkConditions(loss=0.3, latency=0.05, jitter=0.02), 2000)
    assert all(not b or a == b for a, b in zip(few, many, strict=True))
    assert sum(map(bool, many)) < sum(map(bool, few))


def test_each_pair_of_players_draws_independently_and_reproducibly() -> None:
    lossy = link("mobile_4g")

    def lost(source: int, destination: int, seed: int) -> list[bool]:
        channel = lossy.channel(source, destination, seed)
        return [not channel.deliveries(i * TICK, 9) for i in range(400)]

    assert lost(0, 1, 5) == lost(0, 1, 5)
    assert len({tuple(lost(*key)) for key in ((0, 1, 5), (1, 0, 5), (0, 2, 5), (0, 1, 6))}) == 4


def test_a_link_has_two_directions() -> None:
    asymmetric = link("asymmetric_100_500")
    assert asymmetric.direction(0, 1).latency == 0.1
    assert asymmetric.direction(1, 0).latency == 0.5
    assert Link.both(PERFECT).direction(1, 0) == Link.both(PERFECT).direction(0, 1)


def test_the_named_conditions_are_those_of_the_matrix() -> None:
    assert list(CONDITIONS) == [
        "local", "lan", "constant_50", "constant_100", "constant_250", "wifi_good", "wifi_average", "wifi_congested",
        "mobile_4g", "mobile_3g", "intercontinental", "heavy_reorder", "duplicating", "bursty", "terrible",
        "asymmetric_100_500", "tcp_1", "tcp_5",
    ]  # fmt: skip
    assert link("wifi_congested").forward == NetworkConditions(
        loss=0.15, latency=0.03, jitter=0.04, reorder=0.05, duplicate=0.02, burst_start=0.02, burst_length=3
    )
    assert link("tcp_5").backward == NetworkConditions(loss=0.05, latency=0.05, jitter=0.01, retransmit=0.2)
    assert link("tcp_1").forward.describe() == {"loss": 0.01, "latency": 0.05, "jitter": 0.01, "retransmit": 0.2}


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ConditionsError, match=r"network: 'wlan'.*wifi_good.*terrible"):
        link("wlan")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", 1.5), ("loss", math.nan), ("reorder", -0.1), ("duplicate", 2.0), ("burst_start", -1.0),
        ("latency", -0.01), ("jitter", math.inf), ("retransmit", math.nan), ("reorder_delay", -1.0),
        ("burst_length", -1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConditionsError) as refused:
        replace(PERFECT, **{field: value})
    assert refused.value.field == field


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConditionsError, match="burst_length"):
        NetworkConditions(burst_start=0.1)
    with pytest.raises(ConditionsError, match=r"reorder: 0\.1.*in-order stream"):
        NetworkConditions(retransmit=0.2, reorder=0.1)
