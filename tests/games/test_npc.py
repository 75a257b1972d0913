"""NPCs: what a game with them says of itself, and that what they do is a function of the state alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rollgym.config.problems import ConfigError
from rollgym.config.reading import load_config
from rollgym.games.as_env.gym_env import GameEnv
from rollgym.games.as_env.pettingzoo_env import ParallelGame
from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.identity import identity
from rollgym.games.npcs.npc import Npc, NpcGame, with_npcs
from rollgym.games.policies.catalogue import make_policy, policy_parameters
from rollgym.games.policy import RecurrentPolicy
from rollgym.games.registry import make
from rollgym.protocol.messages import first_difference
from rollgym.server.settings import GameSettings

COOKS = {"cooks": 3, "layout": "banquet", "cook_time": 10}


def three(**npcs: Any) -> Game:
    """A kitchen for three with these NPCs."""
    return make("kitchen", {**COOKS, "npcs": npcs})


def inputs_of(game: Game, seed: int) -> Iterator[JointInput]:
    """What the players press who do not look: a function of the seed."""
    frame = 0
    while True:
        draws = Draws(seed, 0, 0, frame // 3)
        yield tuple(bytes([draws.below(6)]) for _ in range(game.spec.players))
        frame += 1


# -- what the game says ------------------------------------------------------------------------------------------


def test_players_are_the_agents_that_are_no_npcs() -> None:
    game = three(cook_1={"policy": "cook", "seed": 3})
    spec = game.spec
    assert (spec.agents, spec.players, spec.seats, spec.npcs) == (("cook_0", "cook_1", "cook_2"), 2, (0, 2), (1,))
    assert len(spec.codecs) == len(spec.action_spaces) == 3
    assert spec.default_inputs == (b"\0", b"\0")
    assert len(spec.input_codecs) == 2
    named = identity(spec)
    assert (named.agents, named.npcs, named.players) == (spec.agents, ("cook_1",), ("cook_0", "cook_2"))
    plain = make("kitchen", COOKS).spec
    assert (plain.seats, plain.npcs, identity(plain).npcs) == ((0, 1, 2), (), ())
    assert identity(plain).players == plain.agents


def test_npcs_are_part_of_the_game_s_identity() -> None:
    spec = three(cook_2="cook", cook_0={"policy": "random_hold", "seed": 5}).spec
    assert spec.parameters["npcs"] == {
        "cook_0": {"policy": "random_hold", "parameters": {"hold": 4}, "seed": 5},
        "cook_2": {"policy": "cook", "parameters": {"slip": 10, "pace": 4}, "seed": 0},
    }
    assert list(spec.parameters["npcs"]) == ["cook_0", "cook_2"]
    assert identity(make("kitchen", spec.parameters).spec) == identity(spec)
    for change in (
        {"cook_0": {"policy": "random_hold", "seed": 5}},
        {"cook_0": {"policy": "random_hold", "seed": 6}, "cook_2": "cook"},
        {"cook_0": {"policy": "random_hold", "seed": 5, "parameters": {"hold": 3}}, "cook_2": "cook"},
        {"cook_0": {"policy": "random", "seed": 5}, "cook_2": "cook"},
    ):
        difference = first_difference(identity(spec), identity(three(**change).spec))
        assert difference is not None
        assert difference.field.startswith(("parameters.npcs", "npcs"))


def test_all_ways_to_name_an_npc_mean_the_same() -> None:
    forms: list[Any] = [
        "cook",
        {"policy": "cook"},
        Npc("cook"),
        {"policy": "cook", "parameters": {"slip": 10}, "seed": 0},
    ]
    games = [with_npcs(make("kitchen", COOKS), {"cook_1": form}) for form in forms]
    assert all(identity(game.spec) == identity(games[0].spec) for game in games)
    settings = GameSettings.model_validate({"id": "kitchen", "parameters": COOKS, "npcs": {"cook_1": "cook"}})
    assert identity(settings.make().spec) == identity(games[0].spec)
    game = make("kitchen", COOKS)
    assert with_npcs(game, {}) is game
    assert make("kitchen", {**COOKS, "npcs": {}}).spec == game.spec


@pytest.mark.parametrize(
    ("npcs", "text"),
    [
        ({"cook_9": "cook"}, r"npcs agent = 'cook_9': expected one of cook_0, cook_1, cook_2"),
        ({"cook_0": "cook", "cook_1": "cook", "cook_2": "cook"}, "at least one of cook_0, cook_1, cook_2 left"),
        ({"cook_0": "waiter"}, r"policy = 'waiter': expected one of random"),
        ({"cook_0": 3}, r"npcs\.cook_0 = 3: expected the name of a policy, or a mapping"),
        ({"cook_0": {"policy": "cook", "sead": 1}}, r"npcs\.cook_0 = .*'sead': 1.*: expected the name of a policy"),
        ({"cook_0": {"seed": 1}}, r"npcs\.cook_0 = "),
        ({"cook_0": {"policy": "cook", "seed": -1}}, r"npcs\.cook_0: policy seed = -1"),
        ({"cook_0": {"policy": "cook", "parameters": {"slip": 101}}}, r"npcs\.cook_0: cook\.slip = 101"),
        (
            {"cook_0": {"policy": "cook", "parameters": {"slap": 1}}},
            r"cook\.slap = 1: expected a parameter named slip, pace",
        ),
        ({"cook_0": {"policy": "cook", "parameters": 3}}, r"npcs\.cook_0\.parameters = 3: expected a mapping"),
        ({"cook_0": {"policy": "cook", "parameters": {"slip": {1}}}}, r"npcs\.cook_0\.parameters = .*JSON values"),
        ({"cook_0": {"policy": "scripted", "parameters": {"path": "/etc/x"}}}, r"cannot agree on a file's content"),
        ({"cook_0": "tracker"}, r"npcs\.cook_0: policy = 'tracker': expected a policy for kitchen"),
        (["cook_0"], r"npcs = \['cook_0'\]: expected a mapping"),
    ],
)
def test_what_cannot_be_an_npc_is_refused(npcs: Any, text: str) -> None:
    with pytest.raises(GameError, match=text):
        make("kitchen", {**COOKS, "npcs": npcs})


def test_npcs_are_given_all_at_once() -> None:
    with pytest.raises(GameError, match="all NPCs at once"):
        with_npcs(three(cook_0="cook"), {"cook_1": "cook"})


def test_an_experiment_file_says_where_its_npc_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("experiment:\n  game:\n    id: kitchen\n    npcs: {cook_9: cook}")
    with pytest.raises(ConfigError, match=r"my\.yaml:4: experiment\.game\.npcs: npcs agent = 'cook_9'"):
        load_config(file)
    with pytest.raises(ValidationError, match=r"kitchen\.npcs = .*expected a parameter named layout"):
        GameSettings.model_validate({"id": "kitchen", "parameters": {"npcs": {"cook_1": "cook"}}})
    with pytest.raises(ValidationError, match="sead"):
        GameSettings.model_validate({"id": "kitchen", "npcs": {"cook_1": {"policy": "cook", "sead": 1}}})


@pytest.mark.parametrize("seats", [(1, 0), (0, 0), (3,), (-1,)])
def test_seats_are_ascending_indices_of_agents(seats: tuple[int, ...]) -> None:
    spec = make("kitchen", COOKS).spec
    with pytest.raises(ValueError, match="seats"):
        GameSpec(
            spec.id, "1", spec.agents, spec.action_spaces, spec.observation_spaces, spec.default_actions, 30, {}, seats
        )


def test_policy_parameters_fill_in_defaults() -> None:
    assert policy_parameters("random_hold", {}) == {"hold": 4}
    assert policy_parameters("cook", {"slip": 3}) == {"slip": 3, "pace": 4}
    assert policy_parameters("idle", {}) == {}
    with pytest.raises(GameError, match=r"idle\.x = 1: expected no parameters"):
        policy_parameters("idle", {"x": 1})


# -- what NPCs do ------------------------------------------------------------------------------------------------

DRIVEN = [
    {"cook_1": {"policy": "cook", "parameters": {"pace": 1}, "seed": 3}},
    {"cook_2": {"policy": "echo", "seed": 4}},
    {"cook_0": {"policy": "echo", "parameters": {"units": 5}}, "cook_2": {"policy": "random_hold", "seed": 9}},
]
driven = pytest.mark.parametrize("npcs", DRIVEN, ids=["cook", "echo", "both"])


@driven
def test_an_npc_plays_as_its_policy_would_from_outside(npcs: dict[str, Any]) -> None:
    inside, outside = three(**npcs), make("kitchen", COOKS)
    for seed in (5, 6):
        assert inside.reset(seed) == outside.reset(seed)
        bots = {}
        for name, npc in npcs.items():
            agent = outside.spec.agents.index(name)
            bots[agent] = make_policy(
                npc["policy"], outside.spec, agent, npc.get("seed", 0), **npc.get("parameters", {})
            )
            bots[agent].reset(seed)
        source = inputs_of(inside, seed)
        done: set[bytes] = set()
        for frame in range(300):
            seen, inputs = outside.observe(), next(source)
            joint: list[bytes] = []
            for agent in range(3):
                mine = (
                    bytes([bots[agent].act(seen[agent], frame)])
                    if agent in bots
                    else inputs[inside.spec.seats.index(agent)]
                )
                joint.append(mine)
            outcome = inside.step(inputs)
            assert outcome == outside.step(tuple(joint))._replace(npc_actions=outcome.npc_actions)
            assert outcome.npc_actions == tuple(joint[agent] for agent in inside.spec.npcs)
            done.update(outcome.npc_actions)
            for a, b in zip(inside.observe(), outside.observe(), strict=True):
                assert all(np.array_equal(a[key], b[key]) for key in b)
        assert len(done) >= 4


@driven
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_npc_01_any_rollbacks_leave_no_trace(npcs: dict[str, Any], data: st.DataObject) -> None:
    """NPC-01: whatever was simulated and thrown away, the frames that stay are those of a straight run."""
    straight, game = three(**npcs), three(**npcs)
    seed = data.draw(st.integers(0, 2**63 - 1))
    straight.reset(seed)
    game.reset(seed)
    right, wrong = inputs_of(game, 1), inputs_of(game, 2)
    inputs: list[JointInput] = []
    outcomes: list[Outcome] = []
    states = [straight.state_bytes(straight.save())]
    snapshots = [game.save()]
    for depth in data.draw(st.lists(st.integers(0, 12), min_size=20, max_size=60)):
        inputs.append(next(right))
        outcomes.append(straight.step(inputs[-1]))
        states.append(straight.state_bytes(straight.save()))
        # The newest frame is predicted wrongly, and so are those before it, again and again.
        start = max(0, len(inputs) - 1 - depth)
        game.load(snapshots[start])
        for _ in range(len(inputs) - start):
            game.step(next(wrong))
            game.save()
        game.load(snapshots[start])
        del snapshots[start + 1 :]
        for frame in range(start, len(inputs)):
            assert game.step(inputs[frame]) == outcomes[frame]
            snapshots.append(game.save())
    assert [game.state_bytes(snapshot) for snapshot in snapshots] == states


def test_randomness_is_of_seed_episode_agent_and_frame() -> None:
    def actions(seed: int, npc_seed: int, agent: str) -> list[JointInput]:
        game = three(**{agent: {"policy": "random", "seed": npc_seed}})
        game.reset(seed)
        return [game.step((b"\0", b"\0")).npc_actions for _ in range(40)]

    random.seed(1)
    np.random.seed(1)
    first = actions(5, 0, "cook_1")
    random.seed(2)
    np.random.seed(2)
    assert actions(5, 0, "cook_1") == first
    assert actions(6, 0, "cook_1") != first
    assert actions(5, 1, "cook_1") != first
    assert actions(5, 0, "cook_2") != first
    assert len(set(first)) > 3


def test_a_snapshot_of_another_episode_brings_its_seed_along() -> None:
    one, other = (three(cook_1="random", cook_2="echo") for _ in range(2))
    one.reset(5)
    other.reset(99)
    for _ in range(10):
        one.step((b"\1",))
        other.step((b"\2",))
    other.load(one.save())
    for _ in range(30):
        assert one.step((b"\1",)) == other.step((b"\1",))
    assert one.state_bytes(one.save()) == other.state_bytes(other.save())


def test_memory_frame_and_seed_are_part_of_the_state() -> None:
    game = three(cook_1="echo", cook_2="random")
    game.reset(3)
    inner, frame, seed, (memory,) = game.save()
    altered = [
        (inner, frame, seed, (memory,)),
        (inner, frame + 1, seed, (memory,)),
        (inner, frame, seed + 1, (memory,)),
        *((inner, frame, seed, (memory[:i] + bytes([memory[i] ^ 1]) + memory[i + 1 :],)) for i in range(len(memory))),
    ]
    assert len({game.state_bytes(snapshot) for snapshot in altered}) == len(altered) == 3 + 24
    fields = game.state_fields(altered[0])
    assert fields["npcs.cook_1.memory"] == memory.hex()
    assert {"npcs.frame", "npcs.seed", "cells"} <= fields.keys()
    assert fields != game.state_fields(altered[-1])


def test_an_action_outside_the_space_names_the_npc(monkeypatch: pytest.MonkeyPatch) -> None:
    game = three(cook_1="random")
    assert isinstance(game, NpcGame)
    monkeypatch.setattr(game._drivers[0].policy, "act", lambda observation, frame: 6)
    with pytest.raises(GameError, match=r"npcs\.cook_1 action = 6: expected a member of its space"):
        game.step((b"\0", b"\0"))


# -- other forms of the game -------------------------------------------------------------------------------------


def test_environments_ask_and_report_players_only() -> None:
    parameters: dict[str, Any] = {**COOKS, "npcs": {"cook_1": "cook"}}
    env = GameEnv("kitchen", **parameters)
    parallel = ParallelGame(make("kitchen", parameters))
    assert isinstance(env.action_space, spaces.Dict)
    assert list(env.action_space.spaces) == parallel.possible_agents == ["cook_0", "cook_2"]
    seen, info = env.reset(seed=1)
    assert env.observation_space.contains(seen)
    assert set(info) == {"cook_0", "cook_2"}
    parallel.reset(seed=1)
    actions = {"cook_0": 1, "cook_2": 0}
    seen, reward, _, _, info = env.step(actions)
    assert set(seen) == {"cook_0", "cook_2"}
    assert set(info) == {"cook_0", "cook_2", "rewards"}
    assert reward == sum(info["rewards"].values())
    observations, rewards, terminations, truncations, infos = parallel.step(actions)
    assert all(each.keys() == actions.keys() for each in (observations, rewards, terminations, truncations, infos))
    with pytest.raises(GameError, match="one action for each of cook_0, cook_2"):
        env.step({"cook_0": 1, "cook_1": 0, "cook_2": 0})


# -- the policy with a memory ------------------------------------------------------------------------------------


def recurrent(game: Game, **parameters: Any) -> RecurrentPolicy:
    policy: Any = make_policy("echo", game.spec, 0, 7, **parameters)
    policy.reset(1)
    return policy  # type: ignore[no-any-return]


def test_what_an_echo_does_depends_on_all_it_has_seen() -> None:
    game = make("kitchen")
    game.reset(1)
    views = []
    for joint, _ in zip(inputs_of(game, 3), range(120), strict=False):
        views.append(game.observe()[0])
        game.step(joint)
    runs, memories = [], []
    for changed in (None, 0, 20):
        echo = recurrent(game)
        runs.append([echo.act(views[f if f != changed else 119], f) for f in range(119)])
        memories.append(echo.memory())
    assert len(set(memories)) == 3, "a single frame, a hundred frames ago, was forgotten"
    assert runs[0][60:] != runs[1][60:]
    assert runs[0][60:] != runs[2][60:]
    assert runs[0][:20] == runs[2][:20]


def test_an_echo_goes_back_to_any_memory() -> None:
    for game in (make("kitchen"), make("pong"), make("drift")):
        game.reset(1)
        echo = recurrent(game, units=16)
        memories, actions = [], []
        for frame in range(60):
            memories.append(echo.memory())
            actions.append(echo.act(game.observe()[0], frame))
            game.step(game.spec.default_inputs)
        assert len({echo.memory_bytes(memory) for memory in memories}) == 60
        assert {len(memory) for memory in memories} == {16}
        game.reset(1)
        views = []
        for _ in range(60):
            views.append(game.observe()[0])
            game.step(game.spec.default_inputs)
        for start in (50, 0, 33):
            echo.recall(memories[start])
            for frame in range(start, 60):
                assert echo.memory() == memories[frame]
                assert echo.act(views[frame], frame) == actions[frame]


class _Sight(Game):
    """Shows a space's values and does nothing else: what an echo can look at."""

    def __init__(self, observed: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.spec = GameSpec("sight", "1", ("one",), (action,), (observed,), (action.sample(),), 30)

    def reset(self, seed: int) -> Any:
        return ({},)

    def step(self, inputs: JointInput) -> Outcome:
        return Outcome((0.0,), (False,), (False,), ({},), False)

    def save(self) -> Any:
        return 0

    def load(self, snapshot: Any) -> None:
        return None

    def state_bytes(self, snapshot: Any) -> bytes:
        return b""

    def observe(self) -> Any:
        return (self.spec.observation_spaces[0].sample(),)


def test_an_echo_looks_at_any_space() -> None:
    observed = spaces.Dict(
        {
            "a": spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
            "b": spaces.Discrete(4, start=-2),
            "c": spaces.MultiBinary(3),
            "d": spaces.MultiDiscrete([3, 4]),
            "e": spaces.Tuple((spaces.Box(0, 255, (2,), np.uint8),)),
        }
    )
    observed.seed(3)
    game = _Sight(observed, spaces.Discrete(5, start=10))
    echo = recurrent(game)
    actions = {echo.act(game.observe()[0], frame) for frame in range(100)}
    assert actions <= {10, 11, 12, 13, 14}
    assert len(actions) > 1
    broken = observed.sample()
    broken["a"] = np.array([[np.nan, np.inf], [-np.inf, 1e30]], np.float32)
    assert echo.act(broken, 1) in range(10, 15)
    with pytest.raises(GameError, match="echo plays Discrete only"):
        recurrent(_Sight(observed, spaces.MultiBinary(3)))
    with pytest.raises(GameError, match=r"echo\.units = 0"):
        recurrent(game, units=0)
