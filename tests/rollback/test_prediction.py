"""Prediction rules are pure functions of the confirmed inputs, and see nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.client_sim.rollback.input_queue import HISTORY, InputQueue
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT, PREDICTORS
from rollgym.client_sim.rollback.prediction.rule import InputHistory
from tests.rollback import predictors
from tests.rollback.fingerprint import fingerprint

values = st.lists(st.integers(0, 3).map(lambda value: bytes((value,))), max_size=30)


def known(facts: list[bytes]) -> InputHistory:
    queue = InputQueue(b"\x00")
    for fact in facts:
        queue.append(fact)
    return InputHistory(queue, 1)


@given(facts=values)
def test_repeat_last(facts: list[bytes]) -> None:
    assert PREDICTORS["repeat_last"](known(facts), len(facts) + 3) == (facts[-1] if facts else b"\x00")


@given(facts=values)
def test_default_input(facts: list[bytes]) -> None:
    assert PREDICTORS["default_input"](known(facts), len(facts) + 3) == b"\x00"


def test_every_named_rule_has_a_second_account_of_it() -> None:
    assert set(PREDICTORS) <= set(predictors.PREDICTORS)
    assert DEFAULT == "repeat_last"


@pytest.mark.parametrize("name", sorted(predictors.PREDICTORS))
@given(facts=values, ahead=st.integers(0, 20))
def test_pure(name: str, facts: list[bytes], ahead: int) -> None:
    predictor, guess = predictors.PREDICTORS[name]
    history, other = known(facts), known(facts)
    before = fingerprint(history)
    first = predictor(history, len(facts) + ahead)
    assert first == guess(facts, len(facts) + ahead)
    for frame in range(len(facts), len(facts) + 25):
        predictor(history, frame)
    assert predictor(history, len(facts) + ahead) == first == predictor(other, len(facts) + ahead)
    assert fingerprint(history) == before


@pytest.mark.parametrize("trimmed", [False, True])
def test_a_rule_sees_the_newest_inputs_whether_older_ones_are_there_or_not(trimmed: bool) -> None:
    queue = InputQueue(b"\x00")
    for frame in range(1000):
        queue.append(bytes((frame % 7,)))
    if trimmed:
        queue.trim(990)
        assert queue.base > 0
    history = InputHistory(queue, 1)
    assert (history.player, history.last, history.newest, history.default) == (1, 999, bytes((999 % 7,)), b"\x00")
    for frame in range(1000 - HISTORY, 1000):
        assert history.value(frame) == bytes((frame % 7,))
    for frame in (-1, 0, 999 - HISTORY, 1000):
        with pytest.raises(IndexError, match=str(frame)):
            history.value(frame)


def test_before_the_first_input_there_is_the_default_and_no_value() -> None:
    history = known([])
    assert (history.last, history.newest) == (-1, b"\x00")
    for frame in (-1, 0):
        with pytest.raises(IndexError):
            history.value(frame)


@pytest.mark.parametrize("name", ["player", "default", "last", "newest", "anything"])
def test_a_rule_can_change_nothing(name: str) -> None:
    history = known([b"\x01"])
    with pytest.raises(AttributeError):
        setattr(history, name, b"\x02")
