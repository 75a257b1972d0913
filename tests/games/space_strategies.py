"""Random spaces of every supported kind, for the tests of spaces and codecs."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
keys = st.text("abcxyz_", min_size=1, max_size=3)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = np.dtype(draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "b1"])))
    shape = draw(shapes)
    low: float
    high: float
    if dtype.kind == "b":
        low, high = draw(st.sampled_from([(0, 1), (0, 0), (1, 1)]))
    elif dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        ends = [
            (-1.0, 1.0),
            (-np.inf, np.inf),
            (0.0, np.inf),
            (-np.inf, -2.0),
            (0.5, 0.5),
            (-most, most),
            (most, np.inf),
        ]
        low, high = draw(st.sampled_from(ends))
    else:
        least, greatest = int(np.iinfo(dtype.name).min), int(np.iinfo(dtype.name).max)
        ends_of_type = st.sampled_from([least, greatest])
        one_end = st.one_of(ends_of_type, st.integers(least, greatest))
        bounds = sorted(draw(st.tuples(one_end, one_end)))
        low, high = bounds[0], bounds[1]
    return spaces.Box(low, high, shape, dtype.type)


discretes = st.builds(
    lambda n, start: spaces.Discrete(n, start=start),
    st.one_of(st.integers(1, 300), st.integers(65_530, 65_540), st.just(2**40)),
    st.integers(-5, 5),
)
multi_binaries = shapes.filter(bool).map(spaces.MultiBinary)
multi_discretes = st.lists(st.tuples(st.integers(1, 400), st.integers(-9, 9)), min_size=1, max_size=4).map(
    lambda parts: spaces.MultiDiscrete([n for n, _ in parts], start=[s for _, s in parts])
)
leaf_spaces: st.SearchStrategy[spaces.Space[Any]] = st.one_of(discretes, multi_binaries, multi_discretes, boxes())
any_spaces: st.SearchStrategy[spaces.Space[Any]] = st.recursive(
    leaf_spaces,
    lambda inner: st.one_of(
        st.dictionaries(keys, inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=5,
)


def equal(a: Any, b: Any) -> bool:
    """Deep equality of two members of a space, dtypes of arrays included."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray):
        # A Box of shape () gives numpy scalars.
        array = isinstance(b, np.ndarray | np.generic)
        return array and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)
