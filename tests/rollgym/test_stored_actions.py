"""Encoded actions are told apart as they are, whatever their width."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rollgym.dataset.stored_actions import distinct_codes


@given(
    st.tuples(st.integers(0, 30), st.integers(0, 12)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255]))
    )
)
def test_every_row_is_one_of_the_distinct_ones(codes: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    distinct, which = distinct_codes(codes)
    assert [distinct[at] for at in which] == [row.tobytes() for row in codes]
    assert len(set(distinct)) == len(distinct)
    assert {*distinct} == {row.tobytes() for row in codes}
