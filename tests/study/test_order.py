"""The order of matches and their seeds: balance, quotas, and nothing but the study's seed decides."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.seeds import SEED_LIMIT
from rollgym.study.order import ORDERS, Slot, blocked, shuffled, slot_seed, weighted

MATCHES = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 6), max_size=5)
SEEDS = st.integers(0, SEED_LIMIT - 1)


@pytest.mark.parametrize("name", ORDERS)
@given(seed=SEEDS, matches=MATCHES)
def test_every_condition_has_exactly_its_matches_each_in_order(name: str, seed: int, matches: dict[str, int]) -> None:
    weights = {condition: 1.0 + len(condition) for condition in matches}
    slots = ORDERS[name](seed, matches, weights)
    assert slots == ORDERS[name](seed, matches, weights)
    assert Counter(slot.condition for slot in slots) == Counter(matches)
    for condition, count in matches.items():
        assert [slot.number for slot in slots if slot.condition == condition] == list(range(count))


@given(seed=SEEDS, conditions=st.integers(1, 6), count=st.integers(1, 6))
def test_blocks_are_balanced_at_every_moment(seed: int, conditions: int, count: int) -> None:
    matches = {str(number): count for number in range(conditions)}
    seen = Counter(dict.fromkeys(matches, 0))
    for slot in blocked(seed, matches, {}):
        seen[slot.condition] += 1
        assert max(seen.values()) - min(seen.values()) <= 1


def test_shuffles_differ_between_seeds_and_are_no_block_after_block() -> None:
    matches = dict.fromkeys("abcd", 4)
    orders = {tuple(shuffled(seed, matches, {})) for seed in range(50)}
    assert len(orders) == 50
    assert len({tuple(blocked(seed, matches, {})) for seed in range(50)}) == 50
    assert any(len({slot.condition for slot in order[:4]}) < 4 for order in orders)


def test_weights_draw_a_condition_earlier_in_proportion() -> None:
    first = Counter(weighted(seed, {"a": 5, "b": 5}, {"a": 3.0})[0].condition for seed in range(4000))
    assert 2800 < first["a"] < 3200


@given(seed=SEEDS, index=st.integers(0, 10**6), attempt=st.integers(0, 100))
def test_seeds_are_paired_or_not_and_each_attempt_has_its_own(seed: int, index: int, attempt: int) -> None:
    one, two = Slot("a", index), Slot("b", index)
    assert slot_seed(seed, one, attempt, paired=True) == slot_seed(seed, two, attempt, paired=True)
    assert slot_seed(seed, one, attempt, paired=False) != slot_seed(seed, two, attempt, paired=False)
    assert slot_seed(seed, one, attempt, paired=True) != slot_seed(seed, one, attempt + 1, paired=True)
    assert 0 <= slot_seed(seed, one, attempt, paired=False) < SEED_LIMIT


def test_what_was_played_once_stays_so() -> None:
    """Another order or other seeds in a later version would be another study."""
    matches = {"a": 2, "b": 2, "c": 2}
    told = {name: " ".join(slot.condition for slot in order(7, matches, {"a": 2.0})) for name, order in ORDERS.items()}
    assert told == {
        "fixed": "a b c a b c",
        "blocked": "b c a b a c",
        "random": "c b b a c a",
        "weighted": "c b b a a c",
    }
    assert slot_seed(7, Slot("a", 1), 0, paired=False) == 77050435
