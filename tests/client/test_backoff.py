"""Pauses between attempts."""

from __future__ import annotations

import random

from rollgym.client_sim.backoff import Backoff


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        assert (a, b) == (0.5, 1.0)
        return b


def test_pauses_double_up_to_the_most_and_begin_anew() -> None:
    backoff = Backoff(0.25, 3.0, Longest())
    assert [backoff.next() for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.attempts == 6
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next() == 0.25


def test_after_thousands_of_attempts_it_still_pauses_for_the_most() -> None:
    backoff = Backoff(0.05, 1.0, Longest())
    assert [backoff.next() for _ in range(5000)][-1] == 1.0


def test_each_is_shortened_by_up_to_a_half_and_no_two_alike() -> None:
    backoff = Backoff(1.0, 1.0, random.Random(1))
    pauses = [backoff.next() for _ in range(50)]
    assert all(0.5 <= pause <= 1.0 for pause in pauses)
    assert len(set(pauses)) == 50
    assert Backoff(1.0, 1.0).next() != Backoff(1.0, 1.0).next()


def test_an_attempt_that_would_come_too_late_is_not_made() -> None:
    backoff = Backoff(0.25, 3.0, Longest())
    assert backoff.next_within(0.25) == 0.25
    assert backoff.next_within(0.4) is None
    assert backoff.next_within(float("inf")) == 1.0
