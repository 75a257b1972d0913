"""Pong's rules, its ends, its symmetry, and that it makes pictures of what it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.builtin.pong.rules import DOWN, FIELDS, HEIGHT, PADDLE_FACE, STAY, UP, WIDTH, Pong
from rollgym.games.builtin.xorshift import xorshift32
from rollgym.games.contract import Outcome
from rollgym.games.errors import GameError

BYTES = [bytes([a]) for a in range(3)]
STILL_RNG = next(rng for rng in range(1, 1000) if (xorshift32(rng) >> 8) % 5 == 2)


def follow(game: Pong, player: int) -> bytes:
    """Keep the paddle level with the ball."""
    fields = game.state_fields(game.save())
    gap = fields["ball_y"] - fields[f"paddle{player}"]
    return BYTES[STAY if abs(gap) < 12 else DOWN if gap > 0 else UP]


def place(game: Pong, **changes: int) -> None:
    """Put the present state where a rule is to be seen."""
    fields = {**game.state_fields(game.save()), "serve_in": 0, **changes}
    game.load(tuple(fields[name] for name in FIELDS))


def step(game: Pong, left: int = STAY, right: int = STAY) -> Outcome:
    return game.step((BYTES[left], BYTES[right]))


def test_an_episode_ends_when_a_player_has_the_points() -> None:
    game = Pong(points=3)
    game.reset(1)
    totals, points = [0.0, 0.0], []
    for _ in range(20_000):
        outcome = game.step((follow(game, 0), BYTES[STAY]))
        totals = [t + r for t, r in zip(totals, outcome.rewards, strict=True)]
        if "point" in outcome.infos[0]:
            points.append(outcome.infos[0]["point"])
            assert outcome.infos[0] == outcome.infos[1]
        if outcome.terminal:
            break
    fields = game.state_fields(game.save())
    assert outcome.terminated == (True, True)
    assert outcome.truncated == (False, False)
    assert fields["score0"] == 3 == points.count(0)
    assert fields["score1"] == points.count(1)
    assert totals == [3.0 - points.count(1), points.count(1) - 3.0]


def test_after_the_last_point_nothing_happens() -> None:
    game = Pong(points=1)
    place(game, ball_x=-10, ball_vx=-11)
    assert step(game).terminal
    ended = game.state_fields(game.save())
    for _ in range(500):
        assert step(game).rewards == (0.0, 0.0)
    assert game.state_fields(game.save()) == {**ended, "frame": ended["frame"] + 500}


def test_max_frames_truncates() -> None:
    game = Pong(max_frames=30)
    game.reset(1)
    outcomes = [step(game) for _ in range(30)]
    assert [o.terminal for o in outcomes] == [False] * 29 + [True]
    assert outcomes[-1].truncated == (True, True)
    assert outcomes[-1].terminated == (False, False)


def test_the_last_point_at_max_frames_terminates_and_does_not_truncate() -> None:
    game = Pong(points=1, max_frames=1)
    place(game, ball_x=-10, ball_vx=-11)
    outcome = step(game)
    assert (outcome.terminated, outcome.truncated, outcome.terminal) == ((True, True), (False, False), True)


@pytest.mark.parametrize("player", [0, 1])
def test_a_hit_returns_the_ball_faster_and_counts(player: int) -> None:
    game = Pong()
    near = PADDLE_FACE + 12
    x, vx = (near + 3, -11) if player == 0 else (WIDTH - near - 3, 11)
    place(game, ball_x=x, ball_vx=vx, ball_y=384, ball_vy=0, rally=4)
    outcome = step(game)
    fields = game.state_fields(game.save())
    assert outcome.infos[player] == {"hit": 1}
    assert outcome.infos[1 - player] == {}
    assert fields["rally"] == 5
    assert fields["ball_vx"] == (16 if player == 0 else -16)


def test_where_the_ball_hits_the_paddle_decides_its_angle() -> None:
    angles = []
    for offset in (-60, -30, 0, 30, 60):
        game = Pong()
        # This state of the generator leads to one that adds nothing.
        place(game, rng=STILL_RNG, ball_x=PADDLE_FACE + 13, ball_vx=-11, ball_y=384 + offset, ball_vy=0)
        step(game)
        angles.append(game.state_fields(game.save())["ball_vy"])
    assert angles == sorted(angles)
    assert angles == [-a for a in reversed(angles)]
    assert angles[-1] >= 8


def test_a_ball_that_passed_the_paddle_cannot_be_hit_from_behind() -> None:
    game = Pong()
    place(game, ball_x=PADDLE_FACE + 5, ball_vx=-11, ball_y=384, ball_vy=0)
    assert step(game).infos == ({}, {})
    assert game.state_fields(game.save())["ball_vx"] == -11


def test_a_point_goes_to_the_other_side_and_the_serve_waits() -> None:
    game = Pong(serve_delay=25)
    place(game, ball_x=WIDTH + 8, ball_vx=11, rally=6)
    outcome = step(game)
    assert outcome.rewards == (1.0, -1.0)
    assert outcome.infos == ({"point": 0, "rally": 6},) * 2
    waited = 0
    while game.state_fields(game.save())["ball_vx"] == 0:
        step(game)
        waited += 1
    assert waited == 25


def test_serves_differ_and_come_from_the_seed() -> None:
    serves: dict[int, tuple[int, int]] = {}
    for seed in range(60):
        for _ in range(2):
            game = Pong(serve_delay=1)
            game.reset(seed)
            step(game)
            fields = game.state_fields(game.save())
            serve = fields["ball_vx"], fields["ball_vy"]
            assert serves.setdefault(seed, serve) == serve
    assert {vx for vx, _ in serves.values()} == {-11, 11}
    assert len({vy for _, vy in serves.values()}) > 8


def test_rallies_between_two_who_follow_the_ball_get_faster() -> None:
    game = Pong()
    game.reset(2)
    longest = fastest = 0
    for _ in range(6_000):
        if game.step((follow(game, 0), follow(game, 1))).terminal:
            break
        fields = game.state_fields(game.save())
        longest, fastest = max(longest, fields["rally"]), max(fastest, abs(fields["ball_vx"]))
    assert longest > 5
    assert 11 < fastest <= 26


actions = st.lists(st.tuples(st.sampled_from(BYTES), st.sampled_from(BYTES)), min_size=50, max_size=400)
settings_of_pong = st.fixed_dictionaries(
    {
        "points": st.integers(1, 3),
        "paddle_height": st.integers(32, 512),
        "paddle_speed": st.integers(1, 64),
        "ball_size": st.integers(4, 64),
        "ball_speed": st.integers(1, 48),
        "max_ball_speed": st.just(48),
        "serve_delay": st.integers(1, 10),
    }
)


@given(st.integers(0, 2**63 - 1), settings_of_pong, actions)
def test_observations_belong_to_their_space_whatever_is_played(
    seed: int, parameters: dict[str, Any], inputs: list[tuple[bytes, bytes]]
) -> None:
    game = Pong(**parameters)
    game.reset(seed)
    for joint in inputs:
        terminal = game.step(joint).terminal
        for space, observation in zip(game.spec.observation_spaces, game.observe(), strict=True):
            assert space.contains(observation), observation
        if terminal:
            break
    assert game.state_fields(game.save())["frame"] > 0


def test_both_players_see_the_court_from_their_own_side() -> None:
    game = Pong()
    place(game, ball_x=100, ball_y=200, ball_vx=-5, ball_vy=7, paddle0=300, paddle1=400, score0=1, score1=2)
    left, right = game.observe()
    assert left["ball_position"].tolist() == [100, 200]
    assert right["ball_position"].tolist() == [WIDTH - 100, 200]
    assert left["ball_velocity"].tolist() == [-5, 7]
    assert right["ball_velocity"].tolist() == [5, 7]
    assert (left["paddle"][0], left["other_paddle"][0]) == (300, 400)
    assert (right["paddle"][0], right["other_paddle"][0]) == (400, 300)
    assert right["scores"].tolist() == [2, 1]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_picture_shows_ball_and_paddles_where_they_are(scale: int) -> None:
    game = Pong()
    place(game, ball_x=512, ball_y=500, ball_vx=9, paddle0=100, paddle1=600)
    picture = game.render(scale)
    assert picture.shape == (HEIGHT // 4 * scale, WIDTH // 4 * scale, 3)
    assert picture.dtype == np.uint8
    per = scale / 4

    def at(x: int, y: int) -> list[int]:
        return [int(v) for v in picture[int(y * per), int(x * per)]]

    assert min(at(512, 500)) > 200  # the ball is nearly white
    assert at(40, 100)[0] > 200  # the left paddle is orange
    assert at(984, 600)[2] > 200  # the right one is blue
    assert max(at(40, 600)) < 80  # and nobody is elsewhere
    assert max(at(984, 100)) < 80
    before = game.save()
    game.render()
    assert game.save() == before


def test_the_text_has_its_size_and_shows_what_is_there() -> None:
    game = Pong()
    place(game, ball_x=512, ball_y=700, ball_vx=9, paddle0=100, paddle1=600, score0=3, score1=4, rally=2)
    lines = game.render_text().split("\n")
    assert (len(lines), {len(line) for line in lines}) == (20, {60})
    assert "left 3" in lines[0]
    assert "4 right" in lines[0]
    assert "rally 2" in lines[0]
    (ball,) = [i for i, line in enumerate(lines) if "●" in line]
    left = [i for i, line in enumerate(lines) if line[3] in "█▀▄"]
    right = [i for i, line in enumerate(lines) if line[-4] in "█▀▄"]
    assert max(left) < min(right) < ball


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"points": 0}, r"pong\.points = 0: expected an integer 1\.\.99"),
        ({"points": "3"}, r"pong\.points = '3': expected an integer"),
        ({"ball_speed": 30}, r"pong\.ball_speed = 30: expected at most max_ball_speed \(26\)"),
        ({"paddles": 2}, r"pong\.paddles = 2: expected a parameter named points, max_frames"),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(GameError, match=text):
        Pong(**parameters)
