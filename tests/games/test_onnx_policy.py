"""Networks in ONNX files as bots: what goes in, what comes out, what is refused, and whole episodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game, GameSpec
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy, policy_origin
from rollgym.games.policies.policy_files import flat_size, flat_vector
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings

SEEN = spaces.Dict({"b": spaces.Discrete(9), "a": spaces.Box(-5, 5, (2, 1), np.float32)})
VIEW = {"b": 7, "a": np.array([[0.5], [-2]], np.float32)}
"""One member of SEEN: flat it is 0.5, -2, 7."""


def linear(
    path: Path, weights: Any, batch: Any = "batch", kind: int = TensorProto.FLOAT, outputs: tuple[str, ...] = ("y",)
) -> str:
    """A file with ``y = x @ weights``; further outputs are the same again."""
    matrix = np.asarray(weights, np.float32 if kind == TensorProto.FLOAT else np.float64)
    rows, columns = matrix.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], [name]) for name in outputs],
        "linear",
        [helper.make_tensor_value_info("x", kind, [batch, rows])],
        [helper.make_tensor_value_info(name, kind, [batch, columns]) for name in outputs],
        [numpy_helper.from_array(matrix, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return str(path)


def spec(action: spaces.Space[Any], default: Any, seen: spaces.Space[Any] = SEEN) -> GameSpec:
    return GameSpec("toy", "1", ("a",), (action,), (seen,), (default,), 60)


def test_an_observation_is_one_row_with_keys_in_order() -> None:
    assert flat_size(SEEN) == 3
    assert flat_vector(SEEN)(VIEW).tolist() == [0.5, -2, 7]


@pytest.mark.parametrize("batch", ["batch", 1])
def test_discrete_takes_the_first_largest(tmp_path: Path, batch: Any) -> None:
    path = linear(tmp_path / "m.onnx", [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], batch)
    bot = make_policy("onnx", spec(spaces.Discrete(4, start=10), 10), 0, 1, path=path)
    bot.reset(1)
    assert bot.act(VIEW, 0) == 12
    assert bot.act({"b": 0, "a": np.array([[0.5], [-2]], np.float32)}, 0) == 10
    assert bot.act({"b": 0, "a": np.array([[-2], [0.5]], np.float32)}, 0) == 11


def test_boxes_are_clipped_and_integers_rounded(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", [[1, 0], [0, 0.8], [0, 0]])
    box = spaces.Box(-1, 1, (1, 2), np.float32)
    action = make_policy("onnx", spec(box, np.zeros((1, 2), np.float32)), 0, 1, path=path).act(VIEW, 0)
    assert action.tolist() == [[0.5, -1]]
    assert action.dtype == np.float32
    whole = spaces.Box(-9, 9, (2,), np.int16)
    action = make_policy("onnx", spec(whole, np.zeros(2, np.int16)), 0, 1, path=path).act(VIEW, 0)
    assert action.tolist() == [0, -2]
    assert action.dtype == np.int16


def test_multi_discrete_takes_the_largest_of_each_part(tmp_path: Path) -> None:
    space = spaces.MultiDiscrete([2, 3])
    path = linear(tmp_path / "m.onnx", [[1, 0, 0, 0, 0], [0, 0, -1, 0, 0], [0, 1, 0, 0, 1]])
    assert make_policy("onnx", spec(space, np.zeros(2, np.int64)), 0, 1, path=path).act(VIEW, 0).tolist() == [1, 2]


def test_a_single_box_may_go_in_with_its_own_shape(tmp_path: Path) -> None:
    seen = spaces.Box(0, 255, (2, 3), np.uint8)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["y"])],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    bot = make_policy("onnx", spec(spaces.Discrete(6), 0, seen), 0, 1, path=str(path))
    assert bot.act(np.array([[1, 2, 3], [4, 200, 6]], np.uint8), 0) == 4


def test_one_of_several_outputs_is_named(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", np.eye(3), outputs=("logits", "value"))
    toy = spec(spaces.Discrete(3), 0)
    with pytest.raises(GameError, match=r"onnx\.output = None: expected one of the model's outputs: logits, value"):
        make_policy("onnx", toy, 0, 1, path=path)
    assert make_policy("onnx", toy, 0, 1, path=path, input="x", output="logits").act(VIEW, 0) == 2


def test_what_does_not_fit_is_refused_with_its_shape(tmp_path: Path) -> None:
    toy = spec(spaces.Discrete(3), 0)
    good = linear(tmp_path / "good.onnx", np.eye(3))
    wide = linear(tmp_path / "wide.onnx", np.eye(4))
    two = linear(tmp_path / "two.onnx", np.ones((3, 2)))
    double = linear(tmp_path / "double.onnx", np.eye(3), kind=TensorProto.DOUBLE)
    batch = linear(tmp_path / "batch.onnx", np.eye(3), 8)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(Path(good).read_bytes()[:40])
    nan = linear(tmp_path / "nan.onnx", np.full((3, 3), np.nan))
    for parameters, text in (
        ({}, r"onnx\.path = None: expected the path of a file"),
        ({"path": str(tmp_path / "none.onnx")}, "expected a file that exists"),
        ({"path": str(tmp_path)}, "expected a file that exists"),
        ({"path": str(broken)}, "a model that onnxruntime can load"),
        ({"path": wide}, r"x of shape \['batch', 4\]\": expected shape \(1, 3\) for this observation"),
        ({"path": batch}, r"x of shape \[8, 3\]': expected shape \(1, 3\)"),
        ({"path": two}, r"y of shape \[1, 2\], float32': expected 3 numbers for Discrete\(3\)"),
        ({"path": double}, r"an input of float32, not tensor\(double\)"),
        ({"path": good, "input": "z"}, r"onnx\.input = 'z': expected one of the model's inputs: x"),
        ({"path": nan}, "y with NaN"),
        ({"path": good, "device": "gpu"}, r"onnx\.device = 'gpu': expected a parameter named path, input, output"),
    ):
        with pytest.raises(GameError, match=text):
            make_policy("onnx", toy, 0, 1, **parameters)
    with pytest.raises(GameError, match="Discrete, MultiDiscrete or Box, not MultiBinary"):
        make_policy("onnx", spec(spaces.MultiBinary(3), np.zeros(3, np.int8)), 0, 1, path=good)


def test_without_the_library_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = linear(tmp_path / "m.onnx", np.eye(3))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GameError, match=r"pip install 'rollgym\[onnx\]'"):
        make_policy("onnx", spec(spaces.Discrete(3), 0), 0, 1, path=path)


def test_two_networks_play_pong_and_both_peers_record_the_same(tmp_path: Path) -> None:
    size = flat_size(make("pong").spec.observation_spaces[0])
    weights = np.random.default_rng(5).normal(size=(size, 3))
    path = linear(tmp_path / "m.onnx", weights - weights.mean(axis=1, keepdims=True))
    assert len(policy_origin("onnx", {"path": path})["file_blake3"]) == 64

    def policy(game: Game, player: int) -> Policy:
        return make_policy("onnx", game.spec, player, 1, path=path)

    settings = PlaySettings(episodes=1, fps=60.0, frame_limit=300, input_delay=0, max_prediction=8)
    result = simulate(Scenario(settings, lambda: make("pong"), [policy, policy], seed=7, link=link("constant_100")))
    (one,), (two,) = (player.exports for player in result.players)
    assert one.header.frames == 300
    assert compare_episodes((one.header, one.canonical), (two.header, two.canonical)) is None
    actions = [column.array() for name, column in one.canonical.columns.items() if name.startswith("actions/")]
    assert len(actions) == 2
    assert sum(len(np.unique(played)) for played in actions) > 2
    assert one.own.stats["rollbacks"] + two.own.stats["rollbacks"] > 0
