"""The end of an episode and of a match, where no later packet can make up for a lost one."""

from __future__ import annotations

import pytest

from tests.sim.judging import judge
from tests.sim.plans import Plan

LENGTH = 30
"""Frames: half a second."""


@pytest.mark.parametrize("whose", [None, 0, 1])
@pytest.mark.parametrize("duration", [0.06, 0.5, 2.5])
def test_a_silence_at_any_moment_of_the_end(whose: int | None, duration: float) -> None:
    """Every packet (or every packet of one side) lost for a while that begins anywhere around the end."""
    rollbacks = 0
    for latency, first in ((0.0, 400), (0.04, 420)):
        for at in range(first, 760, 40):
            plan = Plan(
                frames=LENGTH,
                seed=at,
                forward={"latency": latency},
                backward={"latency": latency},
                partitions=((at / 1000, duration, whose),),
            )
            problems, played = judge(plan)
            assert not problems, f"{plan.text()}\n" + "\n".join(problems)
            assert played is not None
            assert played.frames == LENGTH
            rollbacks += played.rollbacks
    assert rollbacks > 0


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 0.56, 0.6, 1.1])
@pytest.mark.parametrize("duration", [0.3, 1.0, 5.0])
def test_a_pause_across_the_boundary_of_episodes(at: float, duration: float) -> None:
    for pauses in (((0, at, duration),), ((1, at, duration), (0, at + 0.1, duration))):
        for window in (8, 400):
            plan = Plan(
                frames=LENGTH,
                episodes=3,
                window=window,
                forward={"latency": 0.03, "loss": 0.05},
                backward={"latency": 0.05},
                pauses=pauses,
            )
            problems, played = judge(plan)
            assert not problems, f"{plan.text()}\n" + "\n".join(problems)
            assert played is not None
            assert played.frames == 3 * LENGTH
            assert played.rollbacks > 0


def test_a_guessed_end_is_taken_back() -> None:
    """Episodes that end on inputs alone: a wrong guess ends them early at one peer, and they go on."""
    lengths = set()
    undone = 0
    for seed in range(30):
        plan = Plan(
            seed=seed,
            frames=200,
            episodes=2,
            ends_from=0,
            hold=3,
            forward={"latency": 0.08},
            backward={"latency": 0.08},
        )
        problems, played = judge(plan)
        assert not problems, f"{plan.text()}\n" + "\n".join(problems)
        assert played is not None
        for player in played.result.players:
            for export in player.exports:
                lengths.add(export.header.frames)
                # A frame that ended the episode by a guess: all threes, where one of them was predicted.
                undone += sum(
                    event.predicted == b"\x03" and event.at_frame < export.header.frames
                    for event in export.own.rollbacks
                )
    assert len(lengths) > 20, "the rule ended episodes at many different frames"
    assert undone > 0
