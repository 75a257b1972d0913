"""Libraries that keep their state in C, through their own ways to save it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rollgym.games.adapters.native_state  # noqa: F401 - teaches copiers about these libraries
from rollgym.games.adapters.mujoco_split import SplitRobot, quietly_made
from rollgym.games.env_catalogue.builds import roms
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.snapshot.object_graph import Copier


def emulator(sticky: float) -> Any:
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 7)
    ale.setFloat("repeat_action_probability", sticky)
    ale.loadROM(roms() / "pong.bin")
    ale.reset_game()
    return ale


def test_an_emulator_for_one_goes_on_where_it_was() -> None:
    holder = {"ale": emulator(0.0)}
    ale = holder["ale"]
    actions = np.random.default_rng(3).integers(0, 6, 90).tolist()
    for action in actions[:60]:
        ale.act(action)
    copier = Copier(holder)
    snapshot = copier.save()
    seen = []
    for _ in range(2):
        copier.load(snapshot)
        seen.append([(ale.act(action), ale.getRAM().tobytes()) for action in actions[60:]])
        seen[-1].append((0, copier.state_bytes(copier.save())))
    assert seen[0] == seen[1]
    assert len({ram for _, ram in seen[0]}) > 10


def test_sticky_actions_are_refused() -> None:
    with pytest.raises(Unsafe, match="repeat_action_probability 0: with sticky actions"):
        Copier({"ale": emulator(0.25)}).save()


def test_a_robot_is_its_two_halves() -> None:
    split, whole = SplitRobot(max_steps=30), quietly_made("HalfCheetah-v5", 30, None)
    seen, _ = split.reset(seed=4)
    assert np.array_equal(seen["back"], whole.reset(seed=4)[0])
    torques = np.linspace(-1, 1, 6, dtype=np.float32)
    for _ in range(5):
        seen, reward, terminated, truncated, _ = split.step({"back": torques[:3], "front": torques[3:]})
        wanted = whole.step(torques)
        assert np.array_equal(seen["front"], wanted[0])
        assert (reward, terminated, truncated) == wanted[1:4]
    with pytest.raises(GameError, match="robot = 'Ant-v5'"):
        SplitRobot("Ant-v5")


def test_derived_quantities_of_the_physics_come_back_too() -> None:
    robot = SplitRobot(max_steps=100)
    robot.reset(seed=1)
    physics: Any = robot.env.unwrapped
    data = physics.data
    push = {"back": np.ones(3, np.float32), "front": -np.ones(3, np.float32)}
    for _ in range(5):
        robot.step(push)
    copier = Copier(robot)
    snapshot = copier.save()
    # After a step they belong to the state before it: recomputing them from the state would change them.
    derived = data.xpos.copy(), data.cvel.copy(), data.qacc_warmstart.copy()
    for _ in range(3):
        robot.step(push)
    copier.load(snapshot)
    for one, two in zip(derived, (data.xpos, data.cvel, data.qacc_warmstart), strict=True):
        assert np.array_equal(one, two)
