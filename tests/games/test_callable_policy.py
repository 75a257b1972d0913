"""Bots that are code of one's own: by name, made or as they are, and played through the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollgym.client_sim.network_model import link
from rollgym.client_sim.simulator.scenario import Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.config.problems import ConfigError
from rollgym.config.reading import load_config
from rollgym.games.contract import Game
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy, policy_origin, policy_parameters
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.parity import compare_episodes
from rollgym.protocol.messages import PlaySettings

PONG = make("pong").spec
BOTS = "tests.games.my_bots"


@pytest.mark.parametrize("names", [(f"{BOTS}:turns", f"{BOTS}:Drawing"), (f"{BOTS}:Drawing", f"{BOTS}:turns")])
def test_they_play_whole_episodes_that_both_peers_record_alike(names: tuple[str, str]) -> None:
    def policy(game: Game, player: int) -> Policy:
        return make_policy(names[player], game.spec, player, player + 5)

    def inputs() -> list[list[int]]:
        settings = PlaySettings(episodes=2, fps=60.0, frame_limit=200, input_delay=0, max_prediction=8)
        result = simulate(Scenario(settings, lambda: make("pong"), [policy, policy], seed=7, link=link("constant_100")))
        first, second = (player.exports for player in result.players)
        assert len(first) == len(second) == 2
        for one, two in zip(first, second, strict=True):
            check_export(one)
            check_export(two)
            assert one.header.frames == 200
            assert compare_episodes((one.header, one.canonical), (two.header, two.canonical)) is None
        assert sum(export.own.stats["rollbacks"] for export in (*first, *second)) > 0
        columns = [(name, export.canonical.columns[name]) for export in first for name in export.canonical.columns]
        played = [column.array().ravel().tolist() for name, column in columns if name.startswith("actions/")]
        assert len(played) == 4
        assert all(len(set(part)) > 1 for part in played)
        return played

    assert inputs() == inputs()


def test_a_function_is_the_bot_itself_and_gets_parameters_by_name() -> None:
    bot = make_policy(f"{BOTS}:with_option", PONG, 0, 1, action=2)
    bot.reset(3)
    assert [bot.act(None, frame) for frame in range(3)] == [2, 2, 2]


def test_a_maker_is_told_spec_player_and_seed() -> None:
    bots = [make_policy(f"{BOTS}:maker", PONG, player, 4) for player in (0, 1)]
    assert [bot.act(None, 0) for bot in bots] == [1, 2]
    drawing: Any = make_policy(f"{BOTS}:Drawing", PONG, 0, 9, hold=7)
    assert (drawing.seed, drawing.hold, drawing.count) == (9, 7, 3)


def test_reset_of_a_bot_that_is_called_hears_of_the_episode() -> None:
    heard: list[int] = []

    def decide(observation: Any) -> int:
        return 0

    decide.reset = heard.append  # type: ignore[attr-defined]
    from tests.games import my_bots

    my_bots.resettable = decide  # type: ignore[attr-defined]
    make_policy(f"{BOTS}:resettable", PONG, 0, 1).reset(77)
    assert heard == [77]


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("no_such_module_here:bot", {}, "a module that can be imported"),
        (f"{BOTS}:nobody", {}, "a name that is in the module"),
        (f"{BOTS}:NOT_CALLABLE", {}, "a callable: a class or a function"),
        (f"{BOTS}:two", {}, "takes one observation"),
        (f"{BOTS}:turns", {"x": 1}, "takes one observation and the parameters x"),
        (f"{BOTS}:Drawing", {"x": 1}, "takes spec, player, seed and the parameters x"),
        (f"{BOTS}:makes_nothing", {}, "a callable or a policy to be returned, not NoneType"),
        (f"{BOTS}:Plain", {}, "a class whose parameters begin with spec, player, seed"),
    ],
)
def test_what_is_no_bot_is_refused(name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(GameError, match=text):
        make_policy(name, PONG, 0, 1, **parameters)


def test_parameters_of_a_game_never_name_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_bot.py").write_text("from pathlib import Path\nPath('ran').touch()\ndef bot(o): return 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(GameError, match="policy = 'evil_bot:bot'"):
        make("kitchen", {"npcs": {"cook_0": "evil_bot:bot"}})
    with pytest.raises(GameError, match="policy = 'evil_bot:bot'"):
        policy_parameters("evil_bot:bot", {})
    assert not (tmp_path / "ran").exists()
    make_policy("evil_bot:bot", PONG, 0, 1)
    assert (tmp_path / "ran").exists()  # so the name was a good one


@pytest.mark.parametrize("name", ["onnx", "sb3"])
def test_npcs_read_no_file(name: str) -> None:
    for parameters in ({}, {"path": "/etc/hostname"}):
        with pytest.raises(GameError, match="peers cannot agree on"):
            make("kitchen", {"npcs": {"cook_0": {"policy": name, "parameters": parameters}}})


def test_an_experiment_file_may_name_them(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(f"bots: [{{policy: '{BOTS}:Drawing', parameters: {{hold: 2}}}}]")
    assert load_config(file).bots[0].policy == f"{BOTS}:Drawing"
    file.write_text(f"bots: [{{policy: '{BOTS}:Drawing', parameters: {{held: 2}}}}]")
    with pytest.raises(ConfigError, match=r"bots\.0: policy = .*held"):
        load_config(file)


def test_the_record_says_where_a_policy_comes_from(tmp_path: Path) -> None:
    assert policy_origin("random", {}) == {}
    assert policy_origin(f"{BOTS}:turns", {})["source"].startswith("source-")
    script = tmp_path / "script.json"
    script.write_text("[1]")
    first = policy_origin("scripted", {"path": str(script)})
    script.write_text("[2]")
    assert len(first["file_blake3"]) == 64
    assert policy_origin("scripted", {"path": str(script)}) != first
