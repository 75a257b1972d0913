"""What the engine relies on, held against every game that can be made by name.

A game that is added to the registry is tested here without another line.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xxhash

from rollgym.games.contract import Game, JointInput, Observation, Outcome
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import available, make
from rollgym.games.spaces.described import flatten

# Short episodes where stepping is dear; a second setting where one changes what the state looks like.
SETTINGS: list[tuple[str, dict[str, Any], int]] = [
    ("drift", {}, 1500),
    ("pong", {"points": 99}, 3000),
    ("pong", {"points": 3, "ball_speed": 20, "paddle_height": 64}, 600),
    ("kitchen", {}, 700),
    ("kitchen", {"layout": "banquet", "cooks": 3, "cook_time": 5, "orders": 1}, 700),
    ("kitchen", {"cooks": 3, "npcs": {"cook_1": "cook", "cook_2": "echo"}}, 400),
    ("pong", {"npcs": {"left": "random_hold"}}, 600),
    ("overcooked", {}, 200),
    ("overcooked", {"layout": "forced_coordination"}, 120),
]
IDS = [f"{game_id}-{i}" for i, (game_id, _, _) in enumerate(SETTINGS)]
settings = pytest.mark.parametrize(("game_id", "parameters", "frames"), SETTINGS, ids=IDS)


def test_every_installed_game_is_covered() -> None:
    # Those from elsewhere have a suite of their own: tests/adapters/test_conformance.py.
    own = {game.id for game in available() if game.installed} - SHELF.keys()
    assert own == {game_id for game_id, _, _ in SETTINGS}


def inputs_of(game: Game, seed: int, name: str = "random_hold") -> Iterator[JointInput]:
    """What two bots play who do not look."""
    bots = [make_policy(name, game.spec, player, seed + player) for player in range(game.spec.players)]
    frame = 0
    while True:
        yield tuple(codec.encode(bot.act(None, frame)) for codec, bot in zip(game.spec.input_codecs, bots, strict=True))
        frame += 1


def seen_bytes(game: Game, observations: tuple[Observation, ...]) -> bytes:
    parts = []
    for space, seen in zip(game.spec.observation_spaces, observations, strict=True):
        parts += [np.asarray(leaf).tobytes() for leaf in flatten(space, seen)]
    return b"".join(parts)


class Trace:
    """A straight run: what every frame gave, and what the state was before it."""

    def __init__(self, game: Game, seed: int, frames: int) -> None:
        game.reset(seed)
        source = inputs_of(game, seed)
        self.inputs: list[JointInput] = []
        self.outcomes: list[Outcome] = []
        self.snapshots = [game.save()]
        self.states = [game.state_bytes(self.snapshots[0])]
        self.seen = [seen_bytes(game, game.observe())]
        for _ in range(frames):
            joint = next(source)
            self.inputs.append(joint)
            self.outcomes.append(game.step(joint))
            self.snapshots.append(game.save())
            self.states.append(game.state_bytes(self.snapshots[-1]))
            self.seen.append(seen_bytes(game, game.observe()))
            if self.outcomes[-1].terminal:
                break
        assert len(set(self.states)) == len(self.states)


@settings
def test_rolled_back_frames_come_out_the_same(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    straight = Trace(game, 31, frames)
    length = len(straight.inputs)
    draw = random.Random(5)
    wrong = inputs_of(game, 999, "random")

    game.reset(31)
    snapshots = [game.save()]
    at, rollbacks, disturbed = 0, 0, 0
    while at < length:
        if at and draw.random() < 0.3:
            depth = min(at, draw.choice((1, 2, 8)))
            game.load(snapshots[at - depth])
            del snapshots[at - depth + 1 :]
            # What was predicted there, and is thrown away.
            for _ in range(depth):
                outcome = game.step(next(wrong))
                disturbed += game.state_bytes(game.save()) not in straight.states
                if outcome.terminal:
                    break
            game.load(snapshots[at - depth])
            at -= depth
            rollbacks += 1
            for _ in range(depth):
                assert game.state_bytes(game.save()) == straight.states[at]
                assert game.step(straight.inputs[at]) == straight.outcomes[at], at
                snapshots.append(game.save())
                at += 1
        if draw.random() < 0.2:
            assert seen_bytes(game, game.observe()) == straight.seen[at]
        if draw.random() < 0.1:
            game.observe_at(snapshots[draw.randrange(at + 1)])
        if at < length:
            assert game.step(straight.inputs[at]) == straight.outcomes[at], at
            snapshots.append(game.save())
            at += 1
    assert [game.state_bytes(s) for s in snapshots] == straight.states
    assert rollbacks > length // 10
    assert disturbed > rollbacks // 4


@settings
def test_old_snapshots_stay_what_they_were(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    straight = Trace(game, 12, frames)
    Trace(game, 13, frames)
    assert [game.state_bytes(s) for s in straight.snapshots] == straight.states
    for at in random.Random(1).sample(range(len(straight.snapshots)), min(30, len(straight.snapshots))):
        assert seen_bytes(game, game.observe_at(straight.snapshots[at])) == straight.seen[at]


@settings
def test_snapshots_of_one_instance_can_be_played_by_another(
    game_id: str, parameters: dict[str, Any], frames: int
) -> None:
    one, other = make(game_id, parameters), make(game_id, parameters)
    straight = Trace(one, 8, frames // 2)
    other.reset(1)
    at = len(straight.inputs) // 2
    other.load(straight.snapshots[at])
    for frame in range(at, len(straight.inputs)):
        assert other.step(straight.inputs[frame]) == straight.outcomes[frame]
        assert other.state_bytes(other.save()) == straight.states[frame + 1]


@settings
def test_nothing_outside_the_state_matters(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    traces = []
    for noise in (1, 2):
        random.seed(noise)
        np.random.seed(noise)
        game = make(game_id, parameters)
        if noise == 2:
            # A life before this one, and another game beside it.
            Trace(game, 400, 20)
            Trace(make("pong"), 1, 50)
        traces.append(Trace(game, 77, frames // 2))
    assert traces[0].states == traces[1].states
    assert traces[0].outcomes == traces[1].outcomes
    assert traces[0].seen == traces[1].seen


@settings
def test_the_seed_decides_and_decides_all(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    ends: dict[int, set[bytes]] = {}
    for seed in (0, 1, 2, 2**63 - 1, 0):
        game.reset(seed)
        source = inputs_of(game, 5)
        for _ in range(min(frames, 100)):
            game.step(next(source))
        ends.setdefault(seed, set()).add(game.state_bytes(game.save()))
    assert {len(states) for states in ends.values()} == {1}
    assert len(set.union(*ends.values())) == 4


@settings
def test_what_a_game_says_of_itself_holds(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    spec = game.spec
    assert spec.id == game_id
    assert make(game_id, spec.parameters).spec.parameters == spec.parameters
    infos = game.reset(3)
    agents = len(spec.agents)
    assert len(infos) == agents == len(spec.action_spaces) == len(spec.observation_spaces)
    assert spec.players + len(spec.npcs) == agents
    for space, codec, default in zip(spec.action_spaces, spec.codecs, spec.default_actions, strict=True):
        assert space.contains(default)
        assert codec.decode(codec.encode(default)) == default
    source = inputs_of(game, 3)
    for _ in range(min(frames, 150)):
        outcome = game.step(next(source))
        assert [type(r) for r in outcome.rewards] == [float] * agents
        assert {type(f) for f in (*outcome.terminated, *outcome.truncated, outcome.terminal)} == {bool}
        ended = all(a or b for a, b in zip(outcome.terminated, outcome.truncated, strict=True))
        assert outcome.terminal == ended
        for space, seen in zip(spec.observation_spaces, game.observe(), strict=True):
            assert space.contains(seen)
    snapshot = game.save()
    assert game.digest(snapshot) == xxhash.xxh3_64_intdigest(game.state_bytes(snapshot))
    before = game.state_fields(snapshot)
    game.step(next(source))
    after = game.state_fields(game.save())
    assert before.keys() == after.keys()
    assert before != after


@settings
def test_what_is_observed_belongs_to_the_caller(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    straight = Trace(game, 6, 20)
    for frame in range(20):
        game.load(straight.snapshots[frame])
        for space, seen in zip(game.spec.observation_spaces, game.observe(), strict=True):
            for leaf in flatten(space, seen):
                np.asarray(leaf)[...] = 1
        assert seen_bytes(game, game.observe()) == straight.seen[frame]
        assert game.step(straight.inputs[frame]) == straight.outcomes[frame]
        assert game.state_bytes(game.save()) == straight.states[frame + 1]


@settings
def test_a_picture_or_a_text_changes_nothing(game_id: str, parameters: dict[str, Any], frames: int) -> None:
    game = make(game_id, parameters)
    straight = Trace(game, 6, 20)
    game.load(straight.snapshots[10])
    picture, text = game.render(), game.render_text()
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)
    assert picture.std() > 5
    assert text
    for frame in range(10, 20):
        assert game.step(straight.inputs[frame]) == straight.outcomes[frame]
        game.render()
        game.render_text()
    assert game.state_bytes(game.save()) == straight.states[20]


_PLAY = """
import sys
from tests.games.test_conformance import SETTINGS, Trace
from rollgym.games.registry import make
import hashlib
for game_id, parameters, frames in SETTINGS:
    trace = Trace(make(game_id, parameters), 2**40 + 1, min(frames, 100))
    print(hashlib.sha256(b"".join(trace.states + trace.seen) + repr(trace.outcomes).encode()).hexdigest())
"""


def test_processes_with_other_hash_seeds_agree() -> None:
    printed = set()
    for hash_seed in ("1", "2"):
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        run = subprocess.run([sys.executable, "-c", _PLAY], capture_output=True, text=True, check=True, env=environment)
        printed.add(run.stdout)
    assert len(printed) == 1
    assert len(printed.pop().split()) == len(SETTINGS)
