"""Drift against the checksums of the independent implementations, and the rules around them."""

from __future__ import annotations

import pytest

from rollgym.games.builtin.drift.rules import Drift, benchmark_input
from rollgym.games.builtin.xorshift import REFERENCE_RNG, start_rng
from rollgym.games.errors import GameError

BYTES = [bytes([b]) for b in range(16)]


def play(game: Drift, frames: int, first: int = 0) -> None:
    for frame in range(first, first + frames):
        game.step((BYTES[benchmark_input(0, frame)], BYTES[benchmark_input(1, frame)]))


@pytest.mark.parametrize(
    ("frames", "checksum"),
    [
        (0, 0xCEDB8B4ADF0EB7A4),
        (1, 0xC510B4ECE48FEC84),
        (10, 0x731355EC752E8861),
        (1_000, 0x44B4C38FBFC1BAA1),
        (200_000, 0x366CF986B14B0A22),
        (1_000_000, 0x6C993DD38D8FD6F8),
    ],
)
def test_checksum_of_the_reference_workload(frames: int, checksum: int) -> None:
    game = Drift()
    play(game, frames)
    assert f"{game.checksum():016x}" == f"{checksum:016x}"


def reference_step(state: dict[str, list[int]], inputs: tuple[int, int]) -> None:
    """The rules as they are written down, without any of the tables."""
    for i in (0, 1):
        bit = [inputs[i] >> k & 1 for k in range(4)]
        for axis, speed, a in (("x", "vx", bit[1] - bit[0]), ("y", "vy", bit[3] - bit[2])):
            q = max(-8, min(8, state[speed][i] + a))
            if a == 0:
                q -= (q > 0) - (q < 0)
            p = state[axis][i] + q
            if p < 0:
                p, q = -p, -q
            elif p > 1023:
                p, q = 2046 - p, -q
            state[axis][i], state[speed][i] = p, q


def test_every_push_at_every_speed_near_every_wall() -> None:
    game = Drift()
    checked = 0
    for x in (0, 3, 512, 1020, 1023):
        for v in range(-8, 9):
            for a in range(16):
                for b in (0, 5, 10):
                    game.load((0, 1, 0, x, 1023 - x, v, -v, 0, 1023 - x, x, -v, v, 0))
                    state = {"x": [x, 1023 - x], "y": [1023 - x, x], "vx": [v, -v], "vy": [-v, v]}
                    reference_step(state, (a, b))
                    game.step((BYTES[a], BYTES[b]))
                    fields = game.state_fields(game.save())
                    for name, values in state.items():
                        assert [fields[f"{name}0"], fields[f"{name}1"]] == values
                    checked += 1
    assert checked == 5 * 17 * 16 * 3


def test_rewards_and_infos_follow_score_and_hits() -> None:
    game = Drift()
    game.reset(5)
    rewards, scored, hits = [0.0, 0.0], [0, 0], [0, 0]
    quiet = 0
    for frame in range(20_000):
        # Both players steer to the middle of the square, so that they meet.
        x0, y0, x1, y1 = (game.save()[k] for k in (3, 4, 8, 9))
        inputs = tuple(bytes([(2 if x < 512 else 1) | (8 if y < 512 else 4)]) for x, y in ((x0, y0), (x1, y1)))
        outcome = game.step(inputs)
        for agent in (0, 1):
            info = outcome.infos[agent]
            rewards[agent] += outcome.rewards[agent]
            scored[agent] += info.get("scored", 0)
            hits[agent] += info.get("hit", 0)
            assert bool(info) == (outcome.rewards[agent] != 0.0)
        quiet += outcome.infos == ({}, {})
        assert not outcome.terminal, frame
    fields = game.state_fields(game.save())
    assert scored == [fields["score0"], fields["score1"]]
    assert min(scored) > 100
    assert hits == [fields["hits"]] * 2
    assert hits[0] > 100
    assert rewards == [scored[i] * 1.0 + hits[i] * 0.25 for i in (0, 1)]
    assert quiet > 1_000


def test_shared_outcomes_cannot_be_changed() -> None:
    game = Drift()
    outcome = game.step((BYTES[0], BYTES[0]))
    with pytest.raises(TypeError):
        outcome.infos[0]["note"] = 1  # type: ignore[index]
    assert game.step((BYTES[0], BYTES[0])).infos == ({}, {})


def test_max_frames_truncates_both_agents_at_that_frame() -> None:
    game = Drift(max_frames=7)
    game.reset(3)
    for frame in range(7):
        outcome = game.step((BYTES[1], BYTES[2]))
        assert outcome.terminal == (frame == 6)
        assert outcome.truncated == ((frame == 6),) * 2
        assert outcome.terminated == (False, False)


def test_the_seed_changes_the_game() -> None:
    assert start_rng(0) == REFERENCE_RNG
    starts = {start_rng(seed) for seed in range(5_000)}
    assert len(starts) > 4_990
    assert 0 not in starts
    finals = set()
    for seed in range(20):
        game = Drift()
        game.reset(seed)
        play(game, 500)
        finals.add(game.checksum())
    assert len(finals) == 20


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_bad_max_frames_is_refused_by_name(value: object) -> None:
    with pytest.raises(GameError, match=r"drift\.max_frames = .*expected an integer 1\.\."):
        Drift(max_frames=value)


def test_observations_belong_to_their_space_and_mirror_each_other() -> None:
    game = Drift()
    game.reset(9)
    for _ in range(20):
        play(game, 50)
        first, second = game.observe()
        assert game.spec.observation_spaces[0].contains(first)
        assert game.spec.observation_spaces[1].contains(second)
        assert first["position"].tolist() == second["other_position"].tolist() == list(game.save()[3:5])
        assert first["scores"].tolist() == second["scores"].tolist()[::-1]


def test_the_pictures_show_both_players_where_they_are() -> None:
    game = Drift()
    game.load((7, 1, 4, 100, 200, 0, 0, 3, 900, 800, 0, 0, 5))
    picture = game.render()
    assert picture.shape == (256, 256, 3)
    assert picture[50, 25].tolist() == [255, 138, 76]
    assert picture[200, 225].tolist() == [72, 202, 228]
    assert (picture.reshape(-1, 3) != (16, 20, 38)).any(axis=1).sum() == 2 * 52
    lines = game.render_text().split("\n")
    assert lines[0].split() == ["player_0", "3", "player_1", "5", "hits", "4", "frame", "7"]
    assert {len(line) for line in lines} == {60}
    assert [(r, line.index(mark)) for mark in "01" for r, line in enumerate(lines[2:]) if mark in line] == [
        (200 * 17 // 1024, 1 + 100 * 58 // 1024),
        (800 * 17 // 1024, 1 + 900 * 58 // 1024),
    ]
