"""Bots: what they draw, what they refuse, and that the Pong bot plays a game worth recording."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rollgym.games.contract import GameSpec
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import available_policies, make_policy
from rollgym.games.registry import make
from tests.games.space_strategies import any_spaces

PONG = make("pong").spec


def spec_with(space: spaces.Space[Any], default: Any) -> GameSpec:
    return GameSpec("toy", "1", ("a",), (space,), (space,), (default,), 60)


def test_random_depends_on_its_seeds_and_the_frame_only() -> None:
    def actions(seed: int, episode: int, frames: range) -> list[int]:
        policy = make_policy("random", PONG, 0, seed)
        policy.reset(episode)
        return [policy.act(None, frame) for frame in frames]

    forward = actions(1, 2, range(200))
    random.seed(99)
    np.random.seed(99)
    assert actions(1, 2, range(199, -1, -1)) == forward[::-1]
    assert actions(1, 2, range(100, 200)) == forward[100:]
    assert actions(2, 2, range(200)) != forward
    assert actions(1, 3, range(200)) != forward
    assert {forward.count(a) > 40 for a in range(3)} == {True}


def test_two_random_players_with_one_seed_do_not_mirror_each_other() -> None:
    policies = [make_policy("random", PONG, player, 5) for player in (0, 1)]
    assert [policies[0].act(None, f) for f in range(50)] != [policies[1].act(None, f) for f in range(50)]


@pytest.mark.parametrize("hold", [None, 1, 7])
def test_random_hold_changes_every_few_frames(hold: int | None) -> None:
    policy = make_policy("random_hold", PONG, 0, 3, **({} if hold is None else {"hold": hold}))
    actions = [policy.act(None, frame) for frame in range(420)]
    changes = [f for f in range(1, 420) if actions[f] != actions[f - 1]]
    assert len(changes) > 20
    assert {f % (hold or 4) for f in changes} == {0}


@given(any_spaces, st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_a_draw_is_a_member_of_its_space(space: spaces.Space[Any], seed: int, frame: int) -> None:
    draw = sampler(space)
    value = draw(Draws(seed, 0, 0, frame))
    assert space.contains(value), value
    again = draw(Draws(seed, 0, 0, frame))
    assert repr(again) == repr(value)


def test_idle_does_the_default() -> None:
    policy = make_policy("idle", spec_with(spaces.Discrete(5), 3), 0, 0)
    policy.reset(1)
    assert [policy.act(None, f) for f in range(3)] == [3, 3, 3]


def test_scripted_plays_then_idles_or_repeats(tmp_path: Path) -> None:
    script = tmp_path / "actions.json"
    script.write_text(json.dumps([1, 2, 2]))
    once = make_policy("scripted", PONG, 0, 0, actions=[1, 2, 2])
    again = make_policy("scripted", PONG, 0, 0, path=str(script), repeat=True)
    assert [once.act(None, f) for f in range(6)] == [1, 2, 2, 0, 0, 0]
    assert [again.act(None, f) for f in range(6)] == [1, 2, 2, 1, 2, 2]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "either actions or path"),
        ({"actions": [1], "path": "x"}, "either actions or path"),
        ({"actions": []}, r"scripted\.actions = \[\]"),
        ({"actions": [0, 3]}, r"scripted\.actions\[1\] = 3: expected a member of Discrete\(3\)"),
        ({"actions": [0, "up"]}, r"scripted\.actions\[1\] = 'up'"),
        ({"actions": 5}, r"scripted\.actions = 5"),
        ({"path": "/nowhere/at/all.json"}, r"scripted\.path = '/nowhere/at/all\.json': expected a readable file"),
        ({"path": 5}, r"scripted\.path = 5"),
        ({"actions": [0], "repeat": 1}, r"scripted\.repeat = 1"),
    ],
)
def test_a_bad_script_is_refused(params: dict[str, Any], text: str) -> None:
    with pytest.raises(GameError, match=text):
        make_policy("scripted", PONG, 0, 0, **params)


def test_a_script_that_is_not_json_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "actions.json"
    script.write_text("1, 2")
    with pytest.raises(GameError, match="a JSON list of actions"):
        make_policy("scripted", PONG, 0, 0, path=str(script))


@pytest.mark.parametrize(
    ("name", "player", "seed", "params", "text"),
    [
        ("alphago", 0, 0, {}, "policy = 'alphago': expected one of random, random_hold"),
        (None, 0, 0, {}, "policy = None"),
        ("random", 2, 0, {}, r"player = 2: expected 0\.\.1"),
        ("random", 0, -1, {}, "policy seed = -1"),
        ("random", 0, 0, {"hold": 3}, r"random\.hold = 3: expected no parameters"),
        ("random_hold", 0, 0, {"hold": 0}, r"random_hold\.hold = 0"),
        ("tracker", 0, 0, {"skill": 3}, r"tracker\.skill = 3: expected a parameter named error"),
        ("tracker", 0, 0, {"error": "big"}, r"tracker\.error = 'big'"),
        ("chef", 0, 0, {"slip": 101}, r"chef\.slip = 101: expected an integer 0\.\.100"),
    ],
)
def test_what_cannot_be_made_is_refused(name: Any, player: int, seed: int, params: dict[str, Any], text: str) -> None:
    spec = make("overcooked").spec if name == "chef" else PONG
    with pytest.raises(GameError, match=text):
        make_policy(name, spec, player, seed, **params)


def test_bots_for_one_game_refuse_others() -> None:
    with pytest.raises(GameError, match="plays pong only"):
        make_policy("tracker", make("drift").spec, 0, 0)
    with pytest.raises(GameError, match="plays overcooked only"):
        make_policy("chef", PONG, 0, 0)


def test_policies_are_listed() -> None:
    names = available_policies()
    assert {"random", "random_hold", "idle", "scripted", "tracker", "cook", "chef"} <= names.keys()
    assert all(names.values())


def play_pong(policies: list[tuple[str, dict[str, Any]]], seed: int) -> tuple[int, tuple[int, int], list[int]]:
    """Frames, scores and rallies of one episode to three points."""
    game = make("pong", {"points": 3})
    game.reset(seed)
    players = [make_policy(name, game.spec, i, 7, **params) for i, (name, params) in enumerate(policies)]
    for player in players:
        player.reset(seed)
    rallies = []
    for frame in range(30_000):
        seen = game.observe()
        actions = [players[i].act(seen[i], frame) for i in (0, 1)]
        outcome = game.step(tuple(c.encode(a) for c, a in zip(game.spec.codecs, actions, strict=True)))
        if "point" in outcome.infos[0]:
            rallies.append(outcome.infos[0]["rally"])
        if outcome.terminal:
            fields = game.state_fields(game.save())
            return frame + 1, (fields["score0"], fields["score1"]), rallies
    raise AssertionError("the episode did not end")


def test_two_trackers_play_rallies_and_make_points() -> None:
    frames, rallies, winners = [], [], set()
    for seed in range(20):
        length, scores, played = play_pong([("tracker", {}), ("tracker", {})], seed)
        frames.append(length)
        rallies += played
        winners.add(scores.index(3))
    assert winners == {0, 1}
    assert 15 * 60 < sorted(frames)[10] < 60 * 60
    assert 3 < sum(rallies) / len(rallies) < 15


def test_the_tracker_beats_a_random_player_and_a_careless_tracker() -> None:
    for other in (("random_hold", {}), ("tracker", {"error": 300})):
        wins = sum(play_pong([("tracker", {"error": 80}), other], seed)[1][0] == 3 for seed in range(5))
        assert wins == 5, other


@pytest.mark.parametrize(
    ("layout", "soups"),
    [("cramped_room", 7), ("asymmetric_advantages", 7), ("coordination_ring", 3), ("counter_circuit", 3)],
)
def test_two_chefs_cook_and_serve(layout: str, soups: int) -> None:
    game = make("overcooked", {"layout": layout})
    game.reset(3)
    chefs = [make_policy("chef", game.spec, player, 3) for player in (0, 1)]
    for chef in chefs:
        chef.reset(3)
    served = 0
    held: set[str] = set()
    for frame in range(450):
        seen = game.observe()
        outcome = game.step(tuple(bytes([chef.act(seen[i], frame)]) for i, chef in enumerate(chefs)))
        served += outcome.rewards[0] >= 20
        # The text is drawn of every state that cooking leads to.
        held |= {line.split(" holds ")[1] for line in game.render_text().split("\n") if " holds " in line}  # type: ignore[union-attr]
        if frame % 120 == 90:
            assert game.render() is not None
    assert outcome.terminal
    assert served >= soups
    assert held == {"nothing", "onion", "plate", "onion_soup"}


def test_chefs_who_cannot_reach_everything_still_move() -> None:
    game = make("overcooked", {"layout": "forced_coordination"})
    game.reset(3)
    chefs = [make_policy("chef", game.spec, player, 3) for player in (0, 1)]
    actions = set()
    for frame in range(60):
        seen = game.observe()
        joint = [chef.act(seen[i], frame) for i, chef in enumerate(chefs)]
        actions |= set(joint)
        game.step(tuple(bytes([a]) for a in joint))
    assert actions >= {0, 1, 2, 3}
