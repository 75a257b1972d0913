"""Our games as gymnasium and PettingZoo environments, held against the checkers of those projects."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import rollgym.games  # noqa: F401 - registers the ids
from rollgym.games.as_env.gym_env import GameEnv
from rollgym.games.as_env.pettingzoo_env import ParallelGame
from rollgym.games.errors import GameError
from rollgym.games.registry import make
from rollgym.games.spaces.codec import CodecError

with warnings.catch_warnings():
    # Some of what it imports, where pygame is installed, warns of the old names it uses itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test

IDS = ["rollgym/Drift-v0", "rollgym/Pong-v0", "rollgym/Kitchen-v0"]


@pytest.mark.parametrize("mode", [None, "rgb_array", "ansi"])
@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checks_pass_without_a_warning(env_id: str, mode: str | None) -> None:
    # Every warning is an error in these tests.
    check_env(gymnasium.make(env_id, render_mode=mode).unwrapped)


@pytest.mark.parametrize("env_id", IDS)
def test_a_made_environment_plays_whole_episodes(env_id: str) -> None:
    env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, max_frames=300)
    env.action_space.seed(3)
    lengths = []
    for seed in (None, 4, 4):
        env.reset(seed=seed)
        over, frames = False, 0
        while not over:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            assert env.observation_space.contains(observation)
            over, frames = terminated or truncated, frames + 1
        lengths.append(frames)
    assert lengths == [300] * 3
    env.close()


def test_rewards_and_infos_are_the_game_s() -> None:
    env, game = GameEnv("pong", points=3), make("pong", {"points": 3})
    env.reset(seed=8)
    game.reset(8)
    hits = 0
    for _ in range(20_000):
        y = int(env.game.observe()[0]["ball_position"][1]) - int(env.game.observe()[0]["paddle"][0])
        action = {"left": 2 if y > 0 else 1, "right": np.int64(0)}
        observation, reward, terminated, truncated, info = env.step(action)
        outcome = game.step(tuple(bytes([int(action[a])]) for a in ("left", "right")))
        assert info == {
            "left": outcome.infos[0],
            "right": outcome.infos[1],
            "rewards": {"left": outcome.rewards[0], "right": outcome.rewards[1]},
        }
        assert reward == sum(outcome.rewards)
        assert set(observation) == {"left", "right"}
        hits += "hit" in info["left"]
        info["left"]["mine"] = 1  # an info belongs to who gets it
        if terminated:
            break
    assert hits > 0
    assert (terminated, truncated) == (True, False)


def test_truncation_is_not_termination() -> None:
    env = GameEnv("drift", max_frames=1)
    env.reset(seed=1)
    _, _, terminated, truncated, _ = env.step({"player_0": 0, "player_1": 0})
    assert (terminated, truncated) == (False, True)


def test_seedless_resets_go_on_from_the_last_seed() -> None:
    def starts() -> list[bytes]:
        env = GameEnv("drift")
        env.reset(seed=5)
        states = []
        for _ in range(3):
            env.reset()
            states.append(env.game.state_bytes(env.game.save()))
        return states

    assert starts() == starts()
    assert len(set(starts())) == 3


def test_rendering() -> None:
    picture = GameEnv("pong", render_mode="rgb_array")
    picture.reset(seed=1)
    drawn = picture.render()
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == (384, 512, 3)
    text = GameEnv.of(make("pong"), render_mode="ansi")
    text.reset(seed=1)
    assert "left 0" in str(text.render())
    silent = GameEnv("pong")
    silent.reset(seed=1)
    assert silent.render() is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: GameEnv("pong", render_mode="human"), GameError, "render_mode = 'human'"),
        (lambda: GameEnv(), GameError, "game_id = None"),
        (lambda: GameEnv("pong", points=0), GameError, r"pong\.points = 0"),
        (lambda: GameEnv("pong").step({"left": 0}), GameError, "one action for each of left, right"),
        (lambda: GameEnv("pong").step({"left": 0, "right": 3}), CodecError, r"action 3: expected 0\.\.2"),
        (lambda: GameEnv("pong").reset(seed=2**63), GameError, "seed = "),
        (lambda: ParallelGame(make("pong"), "human"), GameError, "render_mode = 'human'"),
        (lambda: ParallelGame(make("pong")).step({}), GameError, "the episode is over"),
        (lambda: ParallelGame(make("pong")).reset(seed=-1), GameError, "seed = -1"),
    ],
)
def test_misuse_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("game_id", ["drift", "pong", "kitchen", "overcooked"])
def test_pettingzoo_checks_pass(game_id: str) -> None:
    length = {"overcooked": {"max_steps": 40}}.get(game_id, {"max_frames": 200})
    env = ParallelGame(make(game_id, length))
    parallel_api_test(env, num_cycles=100 if game_id == "overcooked" else 1000)


def test_a_parallel_game_ends_for_all_agents_at_once() -> None:
    env = ParallelGame(make("pong", {"max_frames": 5}), "ansi")
    observations, infos = env.reset(seed=1)
    assert set(observations) == set(infos) == set(env.agents) == {"left", "right"}
    frames = 0
    while env.agents:
        _, rewards, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
        frames += 1
    assert frames == 5
    assert truncations == {"left": True, "right": True}
    assert terminations == {"left": False, "right": False}
    assert rewards == {"left": 0.0, "right": 0.0}
    assert "left 0" in str(env.render())


def test_an_agent_cannot_be_called_as_the_rewards_are() -> None:
    game = make("pong")
    game.spec = dataclasses.replace(game.spec, agents=("rewards", "right"))
    with pytest.raises(GameError, match="agents that are not called rewards"):
        GameEnv.of(game)
