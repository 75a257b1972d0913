"""Strategies for random but valid exports."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import (
    OWN_COLUMNS,
    Canonical,
    Export,
    Header,
    Info,
    Own,
    RollbackEvent,
    Tail,
    content_digest,
)
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.messages import GameIdentity, PlaySettings

DTYPES = ["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16"]


def small_episode(frames: int, infos: list[Info] | None = None) -> tuple[Header, Canonical]:
    """A complete episode of agents ``a`` and ``b`` with numbers that count up."""
    header = Header(
        match="m",
        episode=0,
        match_seed=1,
        seed=2,
        game=GameIdentity("toy", "1", {"points": 3}, ("a", "b"), ({}, {}), ({}, {})),
        settings=PlaySettings(),
        participants=("p0", "p1"),
        frames=frames,
        status="complete",
    )
    over = np.zeros((frames, 2), dtype=bool)
    over[-1] = True
    columns = {
        "frame": np.arange(frames, dtype=np.uint32),
        "rewards": np.arange(2.0 * frames).reshape(frames, 2),
        "terminations": over,
        "truncations": np.zeros((frames, 2), dtype=bool),
        "input_source": np.zeros((frames, 2), dtype=np.uint8),
        "state_digest": np.arange(frames + 1, dtype=np.uint64) * 7919,
        "actions/a": (np.arange(frames, dtype=np.uint8) % 3).reshape(frames, 1),
        "actions/b": (np.arange(frames, dtype=np.uint8) % 2).reshape(frames, 1),
        "observations/a/at": np.arange(2 * (frames + 1), dtype=np.int64).reshape(frames + 1, 2),
        "observations/b/at": np.arange(frames + 1, dtype=np.float32),
    }
    return header, Canonical({name: Column.of(array) for name, array in columns.items()}, infos or [])


names = st.text("abcXYZ_/.# é0", min_size=1, max_size=12)
any_text = st.text(st.characters(exclude_categories=()), max_size=8)
"""Halves of surrogate pairs too, which UTF-8 has not."""


def _values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    integers = st.integers(-(2**63), 2**64 - 1)
    scalars = st.one_of(st.none(), st.booleans(), integers, st.floats(), text, st.binary(max_size=8))
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
    )


values = _values(any_text)
"""What infos may be."""
values_of_text = _values(st.text(max_size=8))
"""What goes over the wire as it is."""
int64 = st.integers(-(2**63), 2**63 - 1)


@st.composite
def columns(draw: st.DrawFn, dtype: str, shape: tuple[int, ...]) -> Column:
    """Any bytes at all: NaN payloads, negative zeros, bools that are neither 0 nor 1."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["noise", "zeros", "ones"]))
    data = np.random.default_rng(seed).bytes(size) if kind == "noise" else (b"\0" if kind == "zeros" else b"\1") * size
    return Column(dtype, shape, data)


row_shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def exports(draw: st.DrawFn, max_frames: int = 12) -> Export:
    """A valid export, of a complete or of a broken off episode."""
    frames = draw(st.integers(0, max_frames))
    agents = draw(st.lists(names, min_size=1, max_size=3, unique=True).map(tuple))
    npcs = draw(st.sets(st.sampled_from(agents), max_size=len(agents) - 1))
    complete = frames > 0 and draw(st.booleans())
    header = Header(
        match=draw(names),
        episode=draw(st.integers(0, 1000)),
        match_seed=draw(st.integers(0, 2**63 - 1)),
        seed=draw(st.integers(0, 2**63 - 1)),
        game=GameIdentity(
            draw(names),
            "1",
            draw(st.dictionaries(names, values_of_text, max_size=2)),
            agents,
            ({},) * len(agents),
            ({},) * len(agents),
            tuple(agent for agent in agents if agent in npcs),
        ),
        settings=PlaySettings(fps=draw(st.floats(1, 240)), input_delay=draw(st.integers(0, 10))),
        participants=tuple(f"p{i}" for i in range(draw(st.integers(1, len(agents) - len(npcs))))),
        frames=frames,
        status="complete"
        if complete
        else draw(st.sampled_from(["partner_left", "partner_silent", "desync", "aborted"])),
    )
    canonical = draw(canonical_parts(header))
    own = draw(own_parts(header))
    return Export(header, canonical, own, content_digest(header, canonical))


@st.composite
def canonical_parts(draw: st.DrawFn, header: Header) -> Canonical:
    """A canonical part that belongs to ``header``."""
    rows, agents = header.frames, header.game.agents
    sources = np.zeros((rows, len(agents)), dtype=np.uint8)
    sources[:, [agent in header.game.npcs for agent in agents]] = 2
    terminations = np.zeros((rows, len(agents)), dtype=bool)
    if header.status == "complete":
        terminations[-1] = True
    parts = {
        "frame": Column.of(np.arange(rows, dtype=np.uint32)),
        "rewards": draw(columns("<f8", (rows, len(agents)))),
        "terminations": Column.of(terminations),
        "truncations": Column.of(np.zeros((rows, len(agents)), dtype=bool)),
        "input_source": Column.of(sources),
        "state_digest": draw(columns("<u8", (rows + 1,))),
    }
    for agent in agents:
        parts[f"actions/{agent}"] = draw(columns("|u1", (rows, draw(st.integers(1, 4)))))
        # An agent's name may hold "/": only its first part says whose an observation column is.
        for leaf in draw(st.lists(names, max_size=2, unique=True)) if "/" not in agent else []:
            shape = (rows + 1, *draw(row_shapes))
            parts[f"observations/{agent}/{leaf}"] = draw(columns(draw(st.sampled_from(DTYPES)), shape))
    keys = draw(st.lists(st.tuples(st.integers(0, len(agents) - 1), names), max_size=4, unique=True))
    infos = []
    for agent_index, key in keys:
        kind = draw(st.sampled_from([st.booleans(), int64, st.floats(), any_text, values]))
        at = draw(st.lists(st.integers(0, rows), max_size=4, unique=True))
        infos += [Info(row, agent_index, key, pack_value(draw(kind))) for row in at]
    return Canonical(parts, sorted(infos, key=lambda info: (info.row, info.agent, info.key)))


@st.composite
def own_parts(draw: st.DrawFn, header: Header) -> Own:
    """One peer's own part."""
    rows, players = header.frames, len(header.participants)
    parts = {name: draw(columns(dtype, (rows,))) for name, dtype in OWN_COLUMNS.items()}
    if draw(st.booleans()):
        seen = draw(st.integers(0, 4))
        parts["seen_frame"] = draw(columns("<u4", (seen,)))
        for leaf in draw(st.lists(names, max_size=2, unique=True)):
            parts[f"seen/{leaf}"] = draw(columns(draw(st.sampled_from(DTYPES)), (seen, *draw(row_shapes))))
    events = st.builds(
        RollbackEvent,
        at_frame=int64,
        to_frame=int64,
        depth=int64,
        player=int64,
        predicted=st.binary(max_size=4),
        actual=st.binary(max_size=4),
        time=st.floats(),
    )
    tail = None
    if draw(st.booleans()):
        length = draw(st.integers(0, 3))
        tail = Tail(
            draw(int64),
            [tuple(draw(st.binary(max_size=3)) for _ in range(players)) for _ in range(length)],
            [tuple(draw(st.booleans()) for _ in range(players)) for _ in range(length)],
            [tuple(draw(st.floats()) for _ in range(players)) for _ in range(length)],
        )
    plain: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.text(max_size=5), values_of_text, max_size=3)
    return Own(
        player=draw(st.integers(0, players - 1)),
        columns=parts,
        rollbacks=draw(st.lists(events, max_size=3)),
        tail=tail,
        stats=draw(plain),
        policy=draw(plain),
        software=draw(st.dictionaries(names, names, max_size=2)),
        started_at=draw(st.floats()),
        ended_at=draw(st.floats()),
    )
