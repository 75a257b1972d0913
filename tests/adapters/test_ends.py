"""An episode is as long as the environment plays: no frame less, none more."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo import ParallelEnv

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.options import AdapterOptions
from rollgym.games.contract import Outcome
from rollgym.games.errors import GameError
from tests.adapters.broken import Sound
from tests.adapters.toys import Turns

AGENTS = ("a", "b", "c")
JOINT = (b"\0",) * 3


def adapt(env: Any, **options: Any) -> AdaptedGame:
    return AdaptedGame(env, game_id="toy", version="1", options=AdapterOptions(**options))


class Coming(ParallelEnv):  # type: ignore[misc]
    """Who is there after every step, and who is said to be out in it, is written in a script."""

    def __init__(self, script: list[tuple[set[str], set[str]]]) -> None:
        self.script = script
        self.possible_agents = list(AGENTS)
        self.agents: list[str] = []
        self.t = 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(1000)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.t = list(AGENTS), 0
        return dict.fromkeys(self.agents, 0), {}

    def step(self, actions: Any) -> Any:
        assert self.agents, "stepped after its end"
        assert set(actions) == set(self.agents)
        playing = list(self.agents)
        there, out = self.script[self.t]
        self.t += 1
        self.agents = [agent for agent in AGENTS if agent in there]
        acted = [agent for agent in AGENTS if agent in {*playing, *there}]
        flags = {agent: agent in out for agent in acted}
        return dict.fromkeys(acted, self.t), dict.fromkeys(acted, 1.0), flags, dict.fromkeys(acted, False), {}


agents = st.sets(st.sampled_from(AGENTS))


@given(st.lists(st.tuples(agents, agents), min_size=1, max_size=12))
def test_a_parallel_episode_ends_when_the_environment_has_ended(script: list[tuple[set[str], set[str]]]) -> None:
    """Ended: nobody is there, or all who are there are out. Who left before may come back."""
    script = [*script, (set(), set())]
    expected = next(t for t, (there, out) in enumerate(script) if there <= out) + 1
    game = adapt(Coming(script))
    game.reset(1)
    played: list[Outcome] = []
    while not (played and played[-1].terminal):
        played.append(game.step(JOINT))
    assert len(played) == expected
    for t, outcome in enumerate(played):
        over = [one or other for one, other in zip(outcome.terminated, outcome.truncated, strict=True)]
        # What an episode's file relies on: everybody is over in the last frame, and in none before.
        assert all(over) == (t == len(played) - 1)
        there, out = script[t]
        for agent, flag in zip(AGENTS, over, strict=True):
            if agent in there and t < len(played) - 1:
                assert flag == (agent in out)


def test_who_is_out_comes_back() -> None:
    everybody = set(AGENTS)
    game = adapt(Coming([(everybody - {"a"}, {"a"}), (everybody, set()), ({"a"}, {"b", "c"}), (set(), {"a"})]))
    game.reset(1)
    flags = [game.step(JOINT) for _ in range(4)]
    assert [outcome.terminated for outcome in flags] == [
        (True, False, False),
        (False, False, False),
        (False, True, True),
        (True, True, True),
    ]
    assert [outcome.terminal for outcome in flags] == [False, False, False, True]


def test_who_never_came_does_not_keep_the_episode_open() -> None:
    class Late(Coming):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            super().reset()
            self.agents = ["a", "b"]
            return {"a": 0, "b": 0}, {}

    game = adapt(Late([({"a", "b"}, set()), (set(), {"a"})]))
    game.reset(1)
    assert not game.step(JOINT).terminal
    last = game.step(JOINT)
    assert (last.terminal, last.terminated, last.truncated) == (True, (True, False, False), (False, True, True))


@pytest.mark.parametrize("strange", ["reset", "step"])
def test_agents_that_were_not_announced_are_an_error(strange: str) -> None:
    class Strange(Coming):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            given = super().reset()
            self.agents += ["z"] if strange == "reset" else []
            return given

        def step(self, actions: Any) -> Any:
            given = super().step(actions)
            given[0]["z"] = 3
            return given

    def play() -> None:
        game = adapt(Strange([(set(AGENTS), set())]))
        game.reset(1)
        game.step(JOINT)

    with pytest.raises(GameError, match=r"\['z'\].*agents among"):
        play()


def test_nobody_after_a_reset_is_an_error() -> None:
    class Empty(Coming):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            super().reset()
            self.agents = []
            return {}, {}

    with pytest.raises(GameError, match="at least one agent"):
        adapt(Empty([])).reset(1)


class Flags(gymnasium.Env[Any, Any]):
    """Gives the ends it is told to give."""

    def __init__(self, ends: list[tuple[Any, Any]]) -> None:
        self.action_space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(2)})
        self.observation_space = spaces.Dict({"a": spaces.Discrete(9), "b": spaces.Discrete(9)})
        self.ends, self.t = ends, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return {"a": 0, "b": 0}, {}

    def step(self, action: Any) -> Any:
        terminated, truncated = self.ends[self.t]
        self.t += 1
        return {"a": self.t, "b": self.t}, 1.0, terminated, truncated, {}


@pytest.mark.parametrize(
    ("ends", "frames", "last"),
    [
        ([(False, False), ([True, False], False), ([False, True], False), ([True, True], False)], 4, "tt"),
        ([({"a": True, "b": False}, False), ({"a": True, "b": True}, False)], 2, "tt"),
        ([({"a": True, "__all__": False}, {"__all__": False}), ({"b": True, "__all__": False}, False)], 2, "tt"),
        ([({"a": False, "b": False, "__all__": False}, False), ({"a": False, "__all__": True}, False)], 2, "tt"),
        ([({"__all__": False}, {"__all__": False}), ({"__all__": False}, {"__all__": True})], 2, "cc"),
        ([(False, np.array([False, True])), (True, False)], 2, "tt"),
    ],
)  # fmt: skip
def test_ends_of_a_gymnasium_environment(ends: list[Any], frames: int, last: str) -> None:
    game = adapt(Flags(ends))
    game.reset(1)
    outcomes = [game.step((b"\0", b"\0")) for _ in ends]
    assert [outcome.terminal for outcome in outcomes] == [False] * (frames - 1) + [True]
    shown = outcomes[-1].terminated if last[0] == "t" else outcomes[-1].truncated
    assert shown == (True, True)


class Reviving(Turns):
    """By turns; y is out at its first move, gone for two moves of x, and then back."""

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations.get(agent):
            self._was_dead_step(action)
            self.agent_selection = self.agents[0] if self.agents else agent
            return
        self._clear_rewards()
        self.total[agent] += 1
        if agent == "y" and self.total["y"] == 1:
            self.terminations["y"] = True
            return
        if agent == "x" and self.total["x"] == 3:
            self.agents.append("y")
            self.rewards["y"] = self._cumulative_rewards["y"] = 0.0
            self.infos["y"] = {}
            self.terminations["y"] = self.truncations["y"] = False
        self.agent_selection = "y" if "y" in self.agents and agent == "x" else "x"
        if self.total["x"] == 5:
            self.terminations = dict.fromkeys(self.agents, True)


def test_by_turns_too_who_is_out_may_come_back() -> None:
    game = adapt(Reviving())
    game.reset(1)
    outcomes: list[Outcome] = []
    while not (outcomes and outcomes[-1].terminal):
        outcomes.append(game.step((b"\1", b"\1")))
    flags = [outcome.terminated[1] for outcome in outcomes]
    assert flags == [False, True, True, False, False, False, False, True]
    assert outcomes[-1].terminated == (True, True)


def test_an_agent_that_does_not_leave_is_an_error_and_no_endless_loop() -> None:
    class Staying(Turns):
        def step(self, action: Any) -> None:
            if action is not None:
                super().step(action)
                self.terminations["y"] = True
                self.agent_selection = "y"

    game = adapt(Staying())
    game.reset(1)
    with pytest.raises(GameError, match="one agent less"):
        game.step((b"\1", b"\1"))


def test_a_declared_limit_cuts_off() -> None:
    game = adapt(Sound(length=1000), max_frames=7)
    assert game.spec.max_frames == 7
    game.reset(1)
    early = game.save()
    for _ in range(2):
        ends = [game.step((b"\0", b"\0")) for _ in range(7)]
        assert [outcome.terminal for outcome in ends] == [False] * 6 + [True]
        assert ends[-1].truncated == (True, True)
        game.load(early)


class Limited(Sound):
    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("env", "frames"),
    [
        (Sound(), None),
        (Limited(max_steps=50), 50),
        (Limited(max_cycles=np.int64(30)), 30),
        (Limited(horizon=5, max_steps="many"), 5),
        (Limited(max_steps=0), None),
        (Limited(max_steps=True), None),
        (gymnasium.wrappers.TimeLimit(Limited(max_steps=50), max_episode_steps=25), 25),
        (gymnasium.wrappers.TimeLimit(Limited(max_steps=20), max_episode_steps=25), 20),
        (gymnasium.wrappers.OrderEnforcing(Limited(max_steps=20)), 20),
    ],
)
def test_the_longest_episode_is_what_the_environment_says(env: Any, frames: int | None) -> None:
    assert adapt(env).spec.max_frames == frames
    assert adapt(env, max_frames=10).spec.max_frames == min(10, frames or 10)


def test_by_turns_the_environment_counts_rounds_and_waiting_does_not_count() -> None:
    env = Turns()
    env.max_cycles = 10
    assert adapt(env).spec.max_frames == 20
    assert adapt(env, wait=True).spec.max_frames is None
    assert adapt(Sound(), snapshot="replay", replay_limit=30).spec.max_frames == 30
