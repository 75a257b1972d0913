"""Agents keep the environment's own keys; names and parts that no record can hold are refused when the game is made."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo import ParallelEnv

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.verdicts import find
from tests.adapters.broken import Sound


class Keyed(gymnasium.Env[Any, Any]):
    """Agents are called whatever they are to be called, and see a part of whatever key."""

    def __init__(self, keys: Sequence[Hashable], part: Any = "seen", reward: Any = None) -> None:
        self.keys, self.part, self.reward = keys, part, reward
        moves: Any = [(key, spaces.Discrete(3)) for key in keys]
        looks: Any = [(key, spaces.Dict([(part, spaces.Discrete(1000))])) for key in keys]
        self.action_space, self.observation_space = spaces.Dict(moves), spaces.Dict(looks)
        self.t = 0
        self.options: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.options = 0, options
        return self._seen(), {key: {"index": index} for index, key in enumerate(self.keys)}

    def step(self, action: Any) -> Any:
        assert list(action) == list(self.keys)
        self.t += 1
        rewards = {key: float(action[key]) if self.reward is None else self.reward for key in self.keys}
        return self._seen(), rewards, {"__all__": False}, {"__all__": self.t >= 10}, {self.keys[0]: {"t": self.t}}

    def _seen(self) -> Any:
        return {key: {self.part: self.t} for key in self.keys}


def adapt(env: Any, **options: Any) -> AdaptedGame:
    return AdaptedGame(env, game_id="toy", version="1", options=AdapterOptions(**options))


def keyed() -> Game:
    return adapt(Keyed((0, 1)))


class Numbered(ParallelEnv):  # type: ignore[misc]
    """Agents 0 and 1; spaces and agents are known after the first reset only."""

    metadata = {"name": "numbered"}  # noqa: RUF012

    def __init__(self) -> None:
        self.possible_agents: Any = None
        self.resets = 0

    def observation_space(self, agent: Any) -> Any:
        return self._spaces[agent][0]

    def action_space(self, agent: Any) -> Any:
        return self._spaces[agent][1]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.resets += 1
        self.possible_agents, self.agents = [0, 1], [0, 1]
        self._spaces = {agent: (spaces.Discrete(9), spaces.Discrete(2)) for agent in self.agents}
        return {0: 1, 1: 2}, {0: {"n": 1}}

    def step(self, actions: Any) -> Any:
        assert actions == {0: 1, 1: 0}
        self.agents = []
        return {0: 3, 1: 4}, {0: 1.0, 1: -1.0}, {0: True, 1: True}, {0: False, 1: False}, {1: {"n": 2}}


def test_agents_that_are_numbers_are_named_by_them() -> None:
    game = adapt(Keyed((0, 1)), idle={"0": 2})
    assert game.spec.agents == ("0", "1")
    assert game.spec.default_actions == (2, 0)
    assert [dict(info) for info in game.reset(1)] == [{"index": 0}, {"index": 1}]
    outcome = game.step((b"\2", b"\1"))
    assert outcome.rewards == (2.0, 1.0)
    assert [dict(info) for info in outcome.infos] == [{"t": 1}, {}]


def test_agents_and_spaces_may_be_known_after_the_first_reset() -> None:
    env = Numbered()
    game = adapt(env)
    assert (game.spec.agents, env.resets) == (("0", "1"), 1)
    infos = game.reset(5)
    assert [dict(info) for info in infos] == [{"n": 1}, {}]
    outcome = game.step((b"\1", b"\0"))
    assert (outcome.rewards, outcome.terminal) == ((1.0, -1.0), True)
    assert game.observe() == (3, 4)
    assert env.resets == 2  # every episode starts from the environment as it was made: after one reset


def test_spaces_of_gymnasium_too() -> None:
    class Late(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.spaces = self.action_space, self.observation_space
            self.action_space = self.observation_space = None  # type: ignore[assignment]

        def reset(self, **kwargs: Any) -> Any:
            self.action_space, self.observation_space = self.spaces
            return super().reset(**kwargs)

    game = adapt(Late())
    assert game.spec.agents == ("left", "right")
    game.reset(1)
    assert not game.step((b"\0", b"\1")).terminal


def test_two_peers_play_agents_that_are_numbers() -> None:
    def policy(game: Game, player: int) -> Policy:
        return make_policy("random", game.spec, player, 40 + player)

    settings = PlaySettings(episodes=2, fps=20.0, input_delay=0)
    result = simulate(Scenario(settings, keyed, [policy, policy], seed=7, link=link("constant_100")))
    first, second = (player.exports for player in result.players)
    for one, two in zip(first, second, strict=True):
        check_export(one)
        assert one.header.frames == 10
        assert one.canonical.columns["actions/0"].array().any()
        assert find([one, two], 2, keyed()).verdict == "verified"
    assert sum(export.own.stats["rollbacks"] for export in first) > 0


@pytest.mark.parametrize(
    ("keys", "part", "said"),
    [
        ((0, "0"), "x", "agents that differ as text: '0' is there 2 times"),
        (("", "c"), "x", "agent name = '': expected 1 to 128 characters"),
        (("a" * 129, "c"), "x", "agent name = 'a+': expected 1 to 128"),
        (("\ud800", "c"), "x", r"agent name = '\\ud800': expected 1 to 128 characters that UTF-8 has"),
        (tuple(range(17)), "x", "agents = 17: expected 1 to 16"),
        (("a", "b"), "\ud800", r"space key = '\\ud800': expected a string"),
        (("a", "b"), 3, "space key = 3: expected a string"),
    ],
)
def test_what_no_record_can_hold_is_refused_when_the_game_is_made(keys: Any, part: Any, said: str) -> None:
    with pytest.raises(GameError, match=said):
        adapt(Keyed(keys, part))


def test_more_parts_than_a_file_has_columns_are_refused() -> None:
    class Many(Sound):
        def __init__(self, parts: int) -> None:
            super().__init__()
            look = spaces.Dict({str(n): spaces.Discrete(2) for n in range(parts)})
            self.observation_space = spaces.Dict({"left": look, "right": look})

    adapt(Many(251))
    with pytest.raises(GameError, match="spaces = '506 parts': expected at most 504"):
        adapt(Many(252))


def test_games_of_the_contract_are_looked_at_too() -> None:
    with pytest.raises(GameError, match="agent name = ''"):
        make("tests.adapters.toys:badly_named")
    with pytest.raises(GameError, match=r"^game = 'm.*expected 1 to 128"):
        AdaptedGame(Sound(), game_id="my_module:" + "make" * 40, version="1")


names = st.text(min_size=1, max_size=6)


@given(st.lists(st.one_of(names, st.integers(), st.booleans()), min_size=2, max_size=3, unique_by=str), names)
def test_any_name_plays_and_is_recorded_under_itself(keys: list[Any], part: str) -> None:
    game = adapt(Keyed(tuple(keys), part))
    assert game.spec.agents == tuple(map(str, keys))
    game.reset(1)
    outcome = game.step((b"\1",) * len(keys))
    assert outcome.rewards == (1.0,) * len(keys)
    assert game.observe()[0] == {part: 1}


def test_resets_get_the_options_that_are_declared() -> None:
    env = Keyed(("a", "b"))
    game = adapt(env, reset_options={"level": 3})
    game.reset(1)
    assert env.options == {"level": 3}
    plain = Keyed(("a", "b"))
    adapt(plain).reset(1)
    assert plain.options is None

    class WithoutOptions(Sound):
        def reset(self, *, seed: int | None = None) -> Any:  # type: ignore[override]
            return super().reset(seed=seed)

    assert adapt(WithoutOptions()).reset(1) == ({}, {})
    with pytest.raises(GameError, match="a method that takes no options"):
        adapt(WithoutOptions(), reset_options={"level": 3})


def test_a_vector_reward_needs_weights() -> None:
    vector = np.array([1.0, 2.0, 3.0])
    with pytest.raises(GameError, match=r"reward of a = 'a ndarray of 3'.*reward_weights"):
        _first(adapt(Keyed(("a", "b"), reward=vector)))
    outcome = _first(adapt(Keyed(("a", "b"), reward=vector), reward_weights=[1, 0.5, -1]))
    assert outcome.rewards == (-1.0, -1.0)
    assert outcome.infos[0]["reward_vector"].tolist() == [1.0, 2.0, 3.0]
    assert outcome.infos[0]["t"] == 1
    with pytest.raises(GameError, match=r"reward of a = 'float64\[3\]'.*float64\[2\]"):
        _first(adapt(Keyed(("a", "b"), reward=vector), reward_weights=[1, 0.5]))
    with pytest.raises(GameError, match=r"reward of a = 'numbers\[\]'"):
        _first(adapt(Keyed(("a", "b"), reward=1.5), reward_weights=[1, 0.5]))


def _first(game: AdaptedGame) -> Any:
    game.reset(1)
    return game.step((b"\0",) * len(game.spec.agents))


def test_a_teams_vector_is_everybodys() -> None:
    class Team(Keyed):
        def step(self, action: Any) -> Any:
            seen, _, *rest = super().step(action)
            return seen, [1.0, 2.0, 4.0], *rest

    outcome = _first(adapt(Team(("a", "b")), reward_weights=[1, 1, 1]))
    assert outcome.rewards == (7.0, 7.0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"reward_weights": []}, "adapter.reward_weights"),
        ({"reward_weights": [1, "2"]}, "adapter.reward_weights"),
        ({"reward_weights": [float("nan")]}, "adapter.reward_weights"),
        ({"reset_options": [1]}, "adapter.reset_options"),
        ({"max_frames": 0}, "adapter.max_frames"),
        ({"max_frames": 1.5}, "adapter.max_frames"),
    ],
)
def test_options_name_what_is_wrong(options: Any, field: str) -> None:
    with pytest.raises(GameError) as refused:
        AdapterOptions.of(options)
    assert refused.value.field == field


class Old(Sound):
    """Environments of before gymnasium 0.26, each in one way."""

    form = ""

    def reset(self, **kwargs: Any) -> Any:
        seen, info = super().reset(seed=kwargs.get("seed"))
        return seen if self.form == "observations only" else (seen, info)

    def step(self, action: Any) -> Any:
        seen, reward, terminated, truncated, info = super().step(action)
        return (
            (seen, reward, terminated or truncated, info)
            if self.form == "four"
            else (seen, reward, terminated, truncated, info)
        )


class Seedless(Sound):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset(seed=1)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("no seed", "^reset = 'a method that takes no seed'.*gymnasium 0.26 and later.*wrap it"),
        ("no seed, wrapped", "^reset = 'a method that takes no seed'.*gymnasium 0.26 and later.*wrap it"),
        ("observations only", "^what reset returned = 'a dict'.*gymnasium 0.26"),
        ("four", "^what step returned = 'a tuple of 4 values'.*gymnasium 0.26"),
    ],
)
def test_environments_of_the_old_api_are_told_what_to_change(form: str, said: str) -> None:
    env: Any = Seedless() if form.startswith("no seed") else Old()
    env.form = form
    with pytest.raises(GameError, match=said):
        _first(adapt(gymnasium.wrappers.OrderEnforcing(env) if form.endswith("wrapped") else env))
