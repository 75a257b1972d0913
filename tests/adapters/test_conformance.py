"""What the engine relies on, held against every game of the shelf and the toys of each way to save.

Our own games have the same done to them in tests/games/test_conformance.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rollgym.games.canonical_bytes import plain_bytes
from rollgym.games.contract import Game, JointInput, Outcome
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.identity import identity
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import make
from rollgym.games.spaces.described import flatten

TOYS: dict[str, dict[str, Any]] = {
    "tests.adapters.toys:Together": {},
    "tests.adapters.toys:Turns": {"adapter": {"wait": True}},
    "tests.adapters.toys:wrapped": {},
    "tests.adapters.toys:Native": {},
    "tests.adapters.broken:HiddenCHandle": {"adapter": {"snapshot": "replay", "replay_limit": 30}},
    "mpe2.simple_spread_v3:env": {"N": 2, "max_cycles": 20},
}
LOOKING: dict[str, dict[str, Any]] = {
    "atari_pong": {"observation": "grayscale_image"},
    "highway": {"others": 1, "max_steps": 12},
}
SETTINGS = [*((name, LOOKING.get(name, {})) for name in SHELF), *TOYS.items()]
every_game = pytest.mark.parametrize(("game_id", "parameters"), SETTINGS, ids=[name for name, _ in SETTINGS])

FRAMES = 40


def inputs_of(game: Game, seed: int) -> Iterator[JointInput]:
    bots = [make_policy("random_hold", game.spec, player, seed + player, hold=2) for player in range(game.spec.players)]
    for frame in range(10_000):
        yield tuple(codec.encode(bot.act(None, frame)) for codec, bot in zip(game.spec.input_codecs, bots, strict=True))


def seen(game: Game) -> list[bytes]:
    pairs = zip(game.spec.observation_spaces, game.observe(), strict=True)
    return [plain_bytes([leaf]) for space, part in pairs for leaf in flatten(space, part)]


def play(game: Game, inputs: Iterator[JointInput], seed: int) -> tuple[list[JointInput], list[Any], list[Any]]:
    """Inputs, what each frame gave, and snapshots, one more than frames."""
    game.reset(seed)
    joints: list[JointInput] = []
    given: list[Any] = [(game.state_bytes(game.save()), seen(game))]
    snapshots = [game.save()]
    for joint in inputs:
        outcome = game.step(joint)
        joints.append(joint)
        snapshots.append(game.save())
        given.append((shown(outcome), game.state_bytes(snapshots[-1]), seen(game)))
        if outcome.terminal or len(joints) == FRAMES:
            break
    return joints, given, snapshots


def shown(outcome: Outcome) -> bytes:
    """An outcome in bytes: NaN and arrays in infos do not compare."""
    return plain_bytes([outcome.rewards, outcome.terminated, outcome.truncated, [dict(i) for i in outcome.infos]])


@every_game
def test_rollbacks_change_nothing(game_id: str, parameters: dict[str, Any]) -> None:
    game = make(game_id, parameters)
    # A life before this one.
    play(game, inputs_of(game, 900), 77)
    joints, given, kept = play(game, inputs_of(game, 5), 31)
    draw, wrong = random.Random(3), inputs_of(game, 999)
    random.seed(4)
    np.random.seed(4)
    game.reset(31)
    snapshots = [game.save()]
    rollbacks = disturbed = 0

    def forward(at: int) -> None:
        outcome = game.step(joints[at])
        snapshots.append(game.save())
        assert (shown(outcome), game.state_bytes(snapshots[-1]), seen(game)) == given[at + 1], at

    for at in range(len(joints)):
        forward(at)
        if at == 2 or draw.random() < 0.3:
            back = max(0, at + 1 - draw.choice((1, 2, 8)))
            game.load(snapshots[back])
            # What was predicted there, and is thrown away.
            for _ in range(at + 1 - back):
                if game.step(next(wrong)).terminal:
                    break
            disturbed += game.state_bytes(game.save()) != given[at + 1][-2]
            del snapshots[back + 1 :]
            game.load(snapshots[back])
            rollbacks += 1
            for again in range(back, at + 1):
                forward(again)
    assert rollbacks >= disturbed > 0
    # Snapshots of the first run are still what they were, and can be gone back to.
    assert [game.state_bytes(s) for s in kept] == [row[-2] for row in given]
    game.load(kept[0])
    assert seen(game) == given[0][-1]


@every_game
def test_two_instances_agree_and_another_seed_differs(game_id: str, parameters: dict[str, Any]) -> None:
    one, two = make(game_id, parameters), make(game_id, parameters)
    play(two, inputs_of(two, 1), 1)
    first = play(one, inputs_of(one, 5), 2**63 - 1)[1]
    assert play(two, inputs_of(two, 5), 2**63 - 1)[1] == first
    assert play(one, inputs_of(one, 6), 8)[1] != first
    assert identity(one.spec) == identity(two.spec)
    one.close()
    two.close()


@every_game
def test_what_a_game_gives_belongs_to_the_caller(game_id: str, parameters: dict[str, Any]) -> None:
    game = make(game_id, parameters)
    joints, given, snapshots = play(game, inputs_of(game, 5), 4)
    game.load(snapshots[0])
    for at, joint in enumerate(joints):
        for space, observation in zip(game.spec.observation_spaces, game.observe(), strict=True):
            for leaf in flatten(space, observation):
                np.asarray(leaf)[...] = 1
        assert seen(game) == given[at][-1]
        game.step(joint)
    assert game.state_bytes(game.save()) == given[-1][-2]


@every_game
def test_what_a_game_says_of_itself_holds(game_id: str, parameters: dict[str, Any]) -> None:
    game = make(game_id, parameters)
    spec = game.spec
    assert spec.id == game_id
    assert identity(make(game_id, spec.parameters).spec) == identity(spec)
    for space, codec, default in zip(spec.action_spaces, spec.codecs, spec.default_actions, strict=True):
        assert space.contains(default)
        assert np.array_equal(codec.decode(codec.encode(default)), default)
    game.reset(3)
    for _, joint in zip(range(10), inputs_of(game, 3), strict=False):
        outcome = game.step(joint)
        assert [type(r) for r in outcome.rewards] == [float] * len(spec.agents)
        assert {type(f) for f in (*outcome.terminated, *outcome.truncated, outcome.terminal)} == {bool}
        for space, observation in zip(spec.observation_spaces, game.observe(), strict=True):
            flatten(space, observation)
        if outcome.terminal:
            break
    fields = game.state_fields(game.save())
    assert fields
    assert all(isinstance(path, str) for path in fields)
