"""Conditions: what a design gives, and keys of a file that factors set."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.study.conditions import DesignError, Levels, check_factors, full_design, listed_design
from rollgym.study.key_paths import changed, key_path

RTT: dict[str, dict[tuple[str | int, ...], Any]] = {
    "20ms": {("network", "latency"): "10ms"},
    "120ms": {("network", "latency"): "60ms"},
}
PARTNER: dict[str, dict[tuple[str | int, ...], Any]] = {
    "cook": {("bots", 1, "policy"): "cook"},
    "random": {("bots", 1, "policy"): "random_hold"},
}
FACTORS = {"rtt": RTT, "partner": PARTNER}


def test_a_full_design_has_every_combination_with_readable_names() -> None:
    check_factors(FACTORS)
    design = full_design(FACTORS)
    assert [condition.name for condition in design] == [
        "rtt=20ms,partner=cook",
        "rtt=20ms,partner=random",
        "rtt=120ms,partner=cook",
        "rtt=120ms,partner=random",
    ]
    assert design[2].changes == {("network", "latency"): "60ms", ("bots", 1, "policy"): "cook"}
    assert [condition.name for condition in full_design({})] == ["default"]


def test_exclusions_leave_out_what_they_name() -> None:
    design = full_design(FACTORS, [{"rtt": "120ms", "partner": "random"}])
    assert "rtt=120ms,partner=random" not in [condition.name for condition in design]
    assert len(design) == 3
    assert len(full_design(FACTORS, [{"rtt": "120ms"}])) == 2


@pytest.mark.parametrize(
    ("exclude", "said"),
    [
        ([{"ping": "120ms"}], "'ping': expected a factor: rtt, partner"),
        ([{"rtt": "1ms"}], "'1ms': expected a level of rtt: 20ms, 120ms"),
        ([{}], "it excludes nothing"),
        ([{"rtt": "20ms"}, {"rtt": "120ms"}], "nothing is left to play"),
    ],
)
def test_exclusions_that_make_no_sense_are_refused(exclude: list[dict[str, str]], said: str) -> None:
    with pytest.raises(DesignError, match=said):
        full_design(FACTORS, exclude)


def test_a_list_of_conditions_may_leave_factors_out_and_give_names() -> None:
    found = listed_design(FACTORS, [{"rtt": "20ms"}, {"partner": "cook", "rtt": "120ms"}], [None, "far"])
    assert [condition.name for condition in found] == ["rtt=20ms", "far"]
    assert list(found[1].levels) == ["rtt", "partner"]
    with pytest.raises(DesignError, match="'far' is there twice"):
        listed_design(FACTORS, [{"rtt": "20ms"}, {"rtt": "120ms"}], ["far", "far"])


@pytest.mark.parametrize(
    "other", [("network", "latency"), ("network",), ("network", "latency", "deeper")], ids=["same", "above", "below"]
)
def test_two_factors_never_set_the_same_key(other: tuple[str, ...]) -> None:
    others: Levels = {"other": {"a": {other: 1}}}
    both: list[Levels] = [{"rtt": RTT, **others}, {**others, "rtt": RTT}]
    for factors in both:
        with pytest.raises(DesignError, match="is set by"):
            check_factors(factors)


def test_a_change_makes_what_is_missing_and_leaves_the_rest_alone() -> None:
    given_values = {"network": "wifi", "bots": [{"policy": "cook"}]}
    found = changed(given_values, {key_path("network.latency"): "5ms", key_path("bots.2.seed"): 7})
    assert found == {"network": {"latency": "5ms"}, "bots": [{"policy": "cook"}, {}, {"seed": 7}]}
    assert given_values == {"network": "wifi", "bots": [{"policy": "cook"}]}


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({"bots": [{}]}, "bots.first.policy", "'first' is no place in a list"),
        ({"network": {}}, "network.1", "1 is a place in a list, and there is none"),
        ({}, "bots.1000.policy", "expected a place below 64"),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(values: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        changed(values, {key_path(key): 1})


@pytest.mark.parametrize("text", ["", ".", "a..b", "a."])
def test_a_key_has_parts(text: str) -> None:
    with pytest.raises(ValueError, match="expected a key such as"):
        key_path(text)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 4), max_size=4))
def test_names_are_unique_and_in_the_order_of_the_file(shape: dict[str, int]) -> None:
    factors: Levels = {name: {str(level): {(name,): level} for level in range(count)} for name, count in shape.items()}
    check_factors(factors)
    design = full_design(factors)
    assert len({condition.name for condition in design}) == len(design)
    orders = [tuple(int(level) for level in condition.levels.values()) for condition in design]
    assert all(one < two for one, two in pairwise(orders))
