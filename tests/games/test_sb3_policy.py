"""Stable-Baselines3 models as bots, against a stand-in with the interface that its documentation gives.

The library itself needs PyTorch, which is too large to be installed for tests.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game, GameSpec
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policies.policy_files import flat_size
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings

SEEN = spaces.Dict({"b": spaces.Discrete(9), "a": spaces.Box(-5, 5, (2,), np.float32)})
VIEW = {"b": 7, "a": np.array([0.5, -2], np.float32)}


class PPO:
    """A model that is saved as its two spaces and answers with what it was given to answer."""

    loaded: list[PPO]

    def __init__(self, observation_space: Any, action_space: Any, answer: Any, device: str) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.answer = answer
        self.device = device
        self.seen: list[Any] = []
        self.rng = np.random.default_rng(0)

    @classmethod
    def load(cls, path: Any, device: str = "auto") -> PPO:
        seen, action, answer = pickle.loads(Path(path).read_bytes())
        model = cls(seen, action, answer, device)
        cls.loaded.append(model)
        return model

    def set_random_seed(self, seed: int | None = None) -> None:
        assert seed is not None
        assert 0 <= seed < 2**32
        self.rng = np.random.default_rng(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.seen.append(observation)
        if deterministic:
            return np.asarray(self.answer), None
        return np.asarray(self.rng.integers(self.action_space.n)), None


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The two modules in place; gives the threads that torch was told to use."""
    PPO.loaded = []
    told: dict[str, Any] = {}
    baselines, torch = ModuleType("stable_baselines3"), ModuleType("torch")
    baselines.PPO = PPO  # type: ignore[attr-defined]
    torch.set_num_threads = lambda n: told.update(threads=n)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stable_baselines3", baselines)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return told


def saved(tmp_path: Path, seen: Any, action: Any, answer: Any = 1) -> str:
    path = tmp_path / "model.zip"
    path.write_bytes(pickle.dumps((seen, action, answer)))
    return str(path)


def spec(action: spaces.Space[Any], default: Any, seen: spaces.Space[Any] = SEEN) -> GameSpec:
    return GameSpec("toy", "1", ("a",), (action,), (seen,), (default,), 60)


def test_a_model_of_rows_sees_a_row(tmp_path: Path, library: dict[str, Any]) -> None:
    path = saved(tmp_path, spaces.Box(-9, 9, (3,), np.float32), spaces.Discrete(4), 2)
    bot = make_policy("sb3", spec(spaces.Discrete(4, start=5), 5), 0, 1, path=path)
    bot.reset(1)
    assert bot.act(VIEW, 0) == 7
    (model,) = PPO.loaded
    assert model.seen[0].tolist() == [0.5, -2, 7]
    assert model.seen[0].dtype == np.float32
    assert (model.device, library) == ("cpu", {"threads": 1})


def test_a_model_of_the_same_layout_sees_the_observation(tmp_path: Path) -> None:
    path = saved(tmp_path, SEEN, spaces.Discrete(4))
    assert make_policy("sb3", spec(spaces.Discrete(4), 0), 0, 1, path=path, algorithm="PPO").act(VIEW, 0) == 1
    assert PPO.loaded[0].seen[0] is VIEW


def test_boxes_and_multi_discrete(tmp_path: Path) -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    path = saved(tmp_path, SEEN, box, [0.25, 3.0])
    action = make_policy("sb3", spec(box, np.zeros(2, np.float32)), 0, 1, path=path).act(VIEW, 0)
    assert (action.tolist(), action.dtype) == ([0.25, 1], np.float32)
    many = spaces.MultiDiscrete([2, 3], start=[4, 5])
    path = saved(tmp_path, SEEN, spaces.MultiDiscrete([2, 3]), [1, 2])
    action = make_policy("sb3", spec(many, np.array([4, 5])), 0, 1, path=path).act(VIEW, 0)
    assert action.tolist() == [5, 7]


def test_what_it_draws_depends_on_its_seeds_and_the_frame_only(tmp_path: Path) -> None:
    path = saved(tmp_path, SEEN, spaces.Discrete(1000))

    def drawn(seed: int, episode: int, frames: list[int]) -> dict[int, Any]:
        bot = make_policy("sb3", spec(spaces.Discrete(1000), 0), 0, seed, path=path, deterministic=False)
        bot.reset(episode)
        return {frame: bot.act(VIEW, frame) for frame in frames}

    one = drawn(1, 2, [0, 1, 2, 3, 4])
    assert len(set(one.values())) > 2
    assert drawn(1, 2, [4, 2, 0, 1, 3]) == one
    assert drawn(2, 2, [0, 1, 2, 3, 4]) != one
    assert drawn(1, 3, [0, 1, 2, 3, 4]) != one


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = spec(spaces.Discrete(4), 0)
    with pytest.raises(GameError, match=r"sb3\.path = None: expected the path of a file"):
        make_policy("sb3", toy, 0, 1)
    with pytest.raises(GameError, match="expected a file that exists"):
        make_policy("sb3", toy, 0, 1, path=str(tmp_path / "none.zip"))
    path = saved(tmp_path, spaces.Box(0, 1, (5,)), spaces.Discrete(4))
    with pytest.raises(
        GameError, match=r"sees Box.*\(5,\).*: expected a model that sees Dict.*or a Box of shape \(3,\)"
    ):
        make_policy("sb3", toy, 0, 1, path=path)
    path = saved(tmp_path, SEEN, spaces.Discrete(5))
    with pytest.raises(GameError, match=r"acts in Discrete\(5\)': expected a model that acts in Discrete\(4\)"):
        make_policy("sb3", toy, 0, 1, path=path)
    with pytest.raises(GameError, match=r"sb3\.algorithm = 'alphago': expected one of A2C"):
        make_policy("sb3", toy, 0, 1, path=path, algorithm="alphago")
    with pytest.raises(GameError, match=r"sb3\.deterministic = 1: expected true or false"):
        make_policy("sb3", toy, 0, 1, path=path, deterministic=1)
    Path(path).write_text("no model")
    with pytest.raises(GameError, match="expected a model of PPO"):
        make_policy("sb3", toy, 0, 1, path=path)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(GameError, match=r"pip install 'rollgym\[sb3\]'"):
        make_policy("sb3", toy, 0, 1, path=path)


def test_models_that_draw_play_pong_the_same_way_twice(tmp_path: Path) -> None:
    pong = make("pong").spec
    row = spaces.Box(-np.inf, np.inf, (flat_size(pong.observation_spaces[0]),), np.float32)
    path = saved(tmp_path, row, spaces.Discrete(3))

    def policy(game: Game, player: int) -> Policy:
        return make_policy("sb3", game.spec, player, player + 1, path=path, deterministic=False)

    def actions() -> list[list[int]]:
        settings = PlaySettings(episodes=1, fps=60.0, frame_limit=120, input_delay=0, max_prediction=8)
        result = simulate(Scenario(settings, lambda: make("pong"), [policy, policy], seed=7, link=link("constant_100")))
        (one,), (two,) = (player.exports for player in result.players)
        assert one.header.frames == 120
        assert compare_episodes((one.header, one.canonical), (two.header, two.canonical)) is None
        assert one.own.stats["rollbacks"] > 0
        return [c.array().ravel().tolist() for name, c in one.canonical.columns.items() if name.startswith("actions/")]

    first = actions()
    assert [len(set(played)) for played in first] == [3, 3]
    assert actions() == first
