"""Frames become columns in chunks: the same columns, whatever the chunks, and nothing is kept twice."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.frame_limit import limited
from rollgym.games.record import columns
from rollgym.games.record.columns import CanonicalBuilder, prefix
from rollgym.games.registry import make
from rollgym.protocol.episode.export import Canonical
from tests.record.probe import Probe
from tests.rollback.toy import Toy


def game(kind: str) -> Game:
    made: Game = Toy(3)
    if kind != "toy":
        made = make("drift") if kind == "drift" else Probe(robot=True)
    return limited(made, 99)


def recorded(played: Game, frames: int, seed: int, *, build_at: int = -1) -> CanonicalBuilder:
    draw = random.Random(seed)
    builder = CanonicalBuilder(played.spec)
    builder.start(played.reset(seed), played.observe(), 7)
    for frame in range(frames):
        joint = tuple(bytes((draw.randrange(3),)) for _ in range(played.spec.players))
        outcome = played.step(joint)
        builder.append(joint, [0] * played.spec.players, outcome, played.observe(), frame)
        if frame == build_at:
            builder.build()
    return builder


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["drift", "probe", "toy"]),
    st.integers(0, 40),
    st.integers(1, 45),
    st.integers(0, 40),
    st.integers(0, 1000),
)
def test_any_chunks_give_the_same_columns(kind: str, frames: int, chunk: int, build_at: int, seed: int) -> None:
    before = columns.CHUNK
    whole = recorded(game(kind), frames, seed).build()
    try:
        columns.CHUNK = chunk
        assert recorded(game(kind), frames, seed, build_at=build_at).build() == whole
    finally:
        columns.CHUNK = before
    shorter = recorded(game(kind), frames // 2, seed).build()
    assert prefix(whole, frames // 2) == shorter


def test_no_more_rows_than_a_chunk_are_kept_as_they_came() -> None:
    builder = recorded(game("probe"), 90, 1)
    assert len(builder._observations) == 90 < columns.CHUNK
    builder = CanonicalBuilder(Toy().spec)
    toy = Toy()
    builder.start(toy.reset(1), toy.observe(), 0)
    most = 0
    for _ in range(3 * columns.CHUNK):
        builder.append((b"\0", b"\0"), (0, 0), toy.step((b"\0", b"\0")), toy.observe(), 0)
        most = max(most, len(builder._observations), len(builder._outcomes), len(builder._infos), len(builder._digests))
    assert most == columns.CHUNK - 1
    assert builder.frames == 3 * columns.CHUNK


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("bad", [1, 6, 7, 20])
def test_a_row_that_is_not_of_its_space_ends_the_record_before_it(
    chunk: int, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "CHUNK", chunk)
    toy, builder = Toy(), CanonicalBuilder(Toy().spec)
    builder.start(toy.reset(3), toy.observe(), 0)

    def play() -> None:
        for frame in range(30):
            outcome = toy.step((b"\1", b"\2"))
            seen: tuple[Any, ...] = toy.observe() if frame != bad else (np.zeros(3), *toy.observe()[1:])
            builder.append((b"\1", b"\2"), (0, 0), outcome, seen, frame)
        builder.seal()

    with pytest.raises(GameError):
        play()
    assert builder.frames == bad
    with pytest.raises(GameError):
        builder.append((b"\1", b"\2"), (0, 0), toy.step((b"\1", b"\2")), toy.observe(), 0)
    built: Canonical = builder.build()
    assert {name: column.shape[0] for name, column in built.columns.items() if "/" not in name}["frame"] == bad
    again, clean = Toy(), CanonicalBuilder(Toy().spec)
    clean.start(again.reset(3), again.observe(), 0)
    for frame in range(bad):
        clean.append((b"\1", b"\2"), (0, 0), again.step((b"\1", b"\2")), again.observe(), frame)
    assert built == clean.build()


def test_a_reset_that_is_not_of_its_space_leaves_nothing() -> None:
    toy, builder = Toy(), CanonicalBuilder(Toy().spec)
    with pytest.raises(GameError):
        builder.start(toy.reset(3), (np.zeros(3), np.zeros(3)), 0)
