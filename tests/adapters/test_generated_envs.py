"""Environments that nobody wrote, played by two peers over a bad network: the record is what the environment gives.

What it gives is found out without the adapters: the recorded actions are played again in an environment of its own, by
its own methods, and everything is compared with the columns.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import xxhash
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo import ParallelEnv

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.adapters.adapted import AdaptedGame, environment_seed
from rollgym.games.contract import Game
from rollgym.games.counter_rng import Draws, sampler
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.spaces.codec import codec_for
from rollgym.games.spaces.described import flatten, leaves
from rollgym.protocol.column_names import joined
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.values import unpack_value
from rollgym.protocol.messages import PlaySettings
from rollgym.server.record.verdicts import find
from tests.games.space_strategies import any_spaces

Agent = Hashable


class Plan(NamedTuple):
    """What an environment is made of."""

    agents: tuple[Agent, Agent]
    actions: tuple[spaces.Space[Any], ...]
    seen: tuple[spaces.Space[Any], ...]
    rewards: list[Any]
    infos: list[Any]
    away: list[Any]
    """Who is out after which step, of the parallel ones: 0, 1 or None."""
    frames: int
    form: str
    """``gymnasium`` or ``parallel``."""
    loose: bool
    """Observations come as lists, and floats as float64."""


keys = st.one_of(st.text(min_size=1, max_size=4), st.integers(-3, 300))
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=4), st.binary(max_size=4),
    st.sampled_from([np.float32(0.1), np.int8(-3), np.bool_(True), np.arange(3, dtype=np.uint16)]),
)  # fmt: skip
texts = st.text(max_size=3)
values = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
infos = st.dictionaries(st.text("abc./% é\0", max_size=3), values, max_size=3)
rewards = st.one_of(st.floats(), st.integers(-(2**53), 2**53), st.sampled_from([np.float32(0.1), np.int64(7), True]))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    one, two = draw(st.lists(keys, min_size=2, max_size=2, unique_by=str))
    frames = draw(st.integers(3, 9))
    return Plan(
        (one, two),
        (draw(any_spaces), draw(any_spaces)),
        (draw(any_spaces), draw(any_spaces)),
        draw(st.lists(rewards, min_size=2, max_size=4)),
        draw(st.lists(infos, min_size=1, max_size=3)),
        draw(st.lists(st.sampled_from([None, None, 0, 1]), min_size=frames, max_size=frames)),
        frames,
        draw(st.sampled_from(["gymnasium", "parallel"])),
        draw(st.booleans()),
    )


class World:
    """A state that every action changes, and what it shows."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.t, self.mixed = 0, 0

    def start(self, generator: np.random.Generator) -> None:
        self.t, self.mixed = 0, int(generator.integers(2**31))

    def act(self, actions: Mapping[Agent, Any]) -> None:
        self.t += 1
        for agent in self.plan.agents:
            if agent in actions:
                done = codec_for(self.plan.actions[self.plan.agents.index(agent)]).encode(actions[agent])
                self.mixed = xxhash.xxh3_64_intdigest(done, self.mixed) >> 1

    def seen(self) -> dict[Agent, Any]:
        shown = {}
        for index, (agent, space) in enumerate(zip(self.plan.agents, self.plan.seen, strict=True)):
            value = sampler(space)(Draws(self.mixed, 0, index, self.t))
            shown[agent] = loosened(space, value) if self.plan.loose else value
        return shown

    def rewards(self) -> dict[Agent, Any]:
        given = self.plan.rewards
        return {agent: given[(self.mixed + index) % len(given)] for index, agent in enumerate(self.plan.agents)}

    def infos(self) -> dict[Agent, Any]:
        given = self.plan.infos
        return {agent: given[(self.mixed + index) % len(given)] for index, agent in enumerate(self.plan.agents)}

    @property
    def over(self) -> bool:
        return self.t >= self.plan.frames


def loosened(space: spaces.Space[Any], value: Any) -> Any:
    """The same value in the forms that environments use."""
    if isinstance(space, spaces.Dict):
        return {key: loosened(space[key], part) for key, part in value.items()}
    if isinstance(space, spaces.Tuple):
        return [loosened(part, v) for part, v in zip(space.spaces, value, strict=True)]
    if isinstance(space, spaces.Discrete):
        return np.int64(value)
    return value.tolist()


class Single(gymnasium.Env[Any, Any]):
    def __init__(self, plan: Plan) -> None:
        self.world = World(plan)
        moves: Any = list(zip(plan.agents, plan.actions, strict=True))
        looks: Any = list(zip(plan.agents, plan.seen, strict=True))
        self.action_space, self.observation_space = spaces.Dict(moves), spaces.Dict(looks)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.world.start(self.np_random)
        return self.world.seen(), self.world.infos()

    def step(self, action: Any) -> Any:
        world = self.world
        world.act(action)
        return world.seen(), world.rewards(), False, {"__all__": world.over}, world.infos()


class Together(ParallelEnv):  # type: ignore[misc]
    metadata = {"name": "generated"}  # noqa: RUF012

    def __init__(self, plan: Plan) -> None:
        self.world = World(plan)
        self.possible_agents = list(plan.agents)
        self.agents: list[Agent] = []

    def observation_space(self, agent: Agent) -> Any:
        return self.world.plan.seen[self.possible_agents.index(agent)]

    def action_space(self, agent: Agent) -> Any:
        return self.world.plan.actions[self.possible_agents.index(agent)]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = list(self.possible_agents)
        self.world.start(np.random.default_rng(seed))
        return self.world.seen(), self.world.infos()

    def step(self, actions: Any) -> Any:
        world = self.world
        acted = list(self.agents)
        out = world.plan.away[world.t]
        world.act(actions)
        self.agents = [] if world.over else [a for i, a in enumerate(self.possible_agents) if i != out]
        told = [agent for agent in self.possible_agents if agent in acted or agent in self.agents]
        dead = {agent: agent in acted and agent not in self.agents and not world.over for agent in told}
        return (
            {agent: part for agent, part in world.seen().items() if agent in told},
            {agent: part for agent, part in world.rewards().items() if agent in told},
            dead,
            dict.fromkeys(told, world.over),
            {agent: part for agent, part in world.infos().items() if agent in told},
        )


def environment(plan: Plan) -> Any:
    return Single(plan) if plan.form == "gymnasium" else Together(plan)


@settings(max_examples=60)
@given(plans())
def test_the_record_is_what_the_environment_gives(plan: Plan) -> None:
    played_and_compared(plan)


def played_and_compared(plan: Plan) -> None:
    def game() -> Game:
        return AdaptedGame(environment(plan), game_id="generated", version="1")

    def policy(mine: Game, player: int) -> Policy:
        return make_policy("random", mine.spec, player, 40 + player)

    play = PlaySettings(episodes=1, fps=20.0, input_delay=0, max_prediction=8)
    result = simulate(Scenario(play, game, [policy, policy], seed=7, link=link("constant_100")))
    (one,), (two,) = (player.exports for player in result.players)
    check_export(one)
    assert (one.header.status, one.header.frames) == ("complete", plan.frames)
    assert find([one, two], 2, game()).verdict == "verified"
    compare(plan, one)


def compare(plan: Plan, export: Export) -> None:
    """Every cell, against an environment that is stepped by hand."""
    env = environment(plan)
    names = [str(agent) for agent in plan.agents]
    cells = {(info.row, info.agent, info.key): unpack_value(info.value) for info in export.canonical.infos}
    columns = {name: column.array() for name, column in export.canonical.columns.items()}
    observations, infos_given = env.reset(seed=environment_seed(export.header.seed))
    last = dict(observations)
    out = dict.fromkeys(plan.agents, False)
    expected = info_cells(0, plan, infos_given)
    check_observations(plan, columns, 0, last)
    for frame in range(export.header.frames):
        there = plan.agents if plan.form == "gymnasium" else tuple(env.agents)
        actions = {
            agent: codec_for(space).decode(columns[f"actions/{name}"][frame].tobytes())
            for agent, name, space in zip(plan.agents, names, plan.actions, strict=True)
            if agent in there
        }
        observations, given, terminated, truncated, infos_given = env.step(actions)
        last.update(observations)
        check_observations(plan, columns, frame + 1, last)
        expected |= info_cells(frame + 1, plan, infos_given)
        for index, agent in enumerate(plan.agents):
            assert same(columns["rewards"][frame, index], given.get(agent, 0.0))
            if plan.form == "gymnasium":
                over = bool(truncated["__all__"])
            else:
                over = (terminated[agent] or truncated[agent]) if agent in terminated else out[agent]
                over = over or not env.agents
            out[agent] = over
            assert (columns["terminations"] | columns["truncations"])[frame, index] == over
    assert cells.keys() == expected.keys()
    assert all(same(cells[at], value) for at, value in expected.items())


def check_observations(plan: Plan, columns: dict[str, Any], row: int, seen: dict[Agent, Any]) -> None:
    for agent, space in zip(plan.agents, plan.seen, strict=True):
        name = joined(["observations", str(agent)], "/")
        for leaf, value in zip(leaves(space), flatten(space, seen[agent]), strict=True):
            stored = columns[f"{name}/{leaf.path}" if leaf.path else name][row]
            assert np.asarray(stored).dtype == leaf.dtype.newbyteorder("<")
            assert same(np.asarray(stored).tolist(), np.asarray(value).tolist())


def info_cells(row: int, plan: Plan, given: Mapping[Agent, Any]) -> dict[tuple[int, int, str], Any]:
    return {
        (row, index, key): value
        for index, agent in enumerate(plan.agents)
        for key, value in given.get(agent, {}).items()
    }


def same(one: Any, other: Any) -> bool:
    """Equal, type of array elements included; NaN is NaN, and a tuple is a list."""
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)
