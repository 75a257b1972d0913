"""Predictors are pure functions of the confirmed inputs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.rollback.input_queue import InputQueue
from rollgym.client_sim.rollback.prediction import Predictor, default_input, repeat_except, repeat_last
from tests.rollback.fingerprint import fingerprint
from tests.rollback.predictors import PREDICTORS

values = st.lists(st.integers(0, 3).map(lambda value: bytes((value,))), max_size=30)


def known(facts: list[bytes]) -> InputQueue:
    queue = InputQueue(b"\x00")
    for fact in facts:
        queue.append(fact)
    return queue


@given(facts=values)
def test_repeat_last(facts: list[bytes]) -> None:
    assert repeat_last(known(facts), len(facts) + 3) == (facts[-1] if facts else b"\x00")


@given(facts=values)
def test_default(facts: list[bytes]) -> None:
    assert default_input(known(facts), len(facts) + 3) == b"\x00"


@given(facts=values)
def test_one_shot_inputs_do_not_repeat(facts: list[bytes]) -> None:
    guess = repeat_except([b"\x01", b"\x02"])(known(facts), len(facts))
    assert guess == (facts[-1] if facts and facts[-1] == b"\x03" else b"\x00")


@pytest.mark.parametrize("name", sorted(PREDICTORS))
@given(facts=values, ahead=st.integers(0, 20))
def test_pure(name: str, facts: list[bytes], ahead: int) -> None:
    predictor: Predictor = PREDICTORS[name][0]
    queue, other = known(facts), known(facts)
    before = fingerprint(queue)
    first = predictor(queue, len(facts) + ahead)
    for frame in range(len(facts), len(facts) + 25):
        predictor(queue, frame)
    assert predictor(queue, len(facts) + ahead) == first == predictor(other, len(facts) + ahead)
    assert fingerprint(queue) == before
