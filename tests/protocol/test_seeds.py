"""Episode seeds follow from the match seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.seeds import SEED_LIMIT, episode_seed


@given(match=st.integers(0, 2**63 - 1), episode=st.integers(0, 10**6))
def test_seeds_are_in_range_and_repeatable(match: int, episode: int) -> None:
    seed = episode_seed(match, episode)
    assert 0 <= seed < SEED_LIMIT
    assert episode_seed(match, episode) == seed


def test_episodes_and_neighbouring_matches_share_no_seed() -> None:
    seeds = [episode_seed(match, episode) for match in range(40) for episode in range(40)]
    assert len(set(seeds)) == len(seeds)


def test_seeds_stay_what_they_were() -> None:
    # Matches are reproduced from these: other values here break every published match seed.
    assert [episode_seed(1, episode) for episode in range(3)] == [2131503577, 622283862, 2112693767]
