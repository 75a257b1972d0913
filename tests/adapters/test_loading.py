"""Names that lead to games beyond the built-in ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.builtin.pong.rules import Pong
from rollgym.games.contract import Game
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.errors import GameError, Unsafe
from rollgym.games.loading import is_foreign
from rollgym.games.registry import available, check_parameters, declared, make
from rollgym.server.settings import GameSettings

OWN_CODE = "tests.adapters.toys:"


@pytest.mark.parametrize(
    ("name", "parameters", "agents"),
    [
        (OWN_CODE + "Together", {"size": 3}, ("agent_0", "agent_1", "agent_2")),
        (OWN_CODE + "Leaving", {}, ("a", "b", "late")),
        (OWN_CODE + "Turns", {}, ("x", "y")),
        (OWN_CODE + "wrapped", {}, ("left", "right")),
        ("Foraging-8x8-2p-2f-v3", {}, ("agent_0", "agent_1")),
        ("rware:rware-tiny-2ag-v2", {"max_steps": 5}, ("agent_0", "agent_1")),
        ("mpe2.simple_spread_v3:parallel_env", {"N": 2}, ("agent_0", "agent_1")),
        ("mpe2.simple_spread_v3:env", {"N": 2}, ("agent_0", "agent_1")),
        ("rollgym/Pong-v0", {}, ("left", "right")),
    ],
)
def test_a_name_gives_a_game(name: str, parameters: dict[str, Any], agents: tuple[str, ...]) -> None:
    assert is_foreign(name)
    game = make(name, parameters)
    assert isinstance(game, AdaptedGame)
    assert (game.spec.id, game.spec.agents, game.spec.parameters) == (name, agents, parameters)
    game.reset(3)
    outcome = game.step(game.spec.default_inputs)
    assert len(outcome.rewards) == len(agents)
    game.close()


def test_a_callable_may_give_a_game_itself() -> None:
    assert isinstance(make("rollgym.games.builtin.pong.rules:Pong", {"points": 2}), Pong)


def test_versions_tell_code_apart() -> None:
    assert make("mpe2.simple_spread_v3:parallel_env").spec.version.startswith("2+mpe2-1.")
    assert make("Foraging-8x8-2p-2f-v3").spec.version.startswith("2+lbforaging-2.")
    own = make(OWN_CODE + "Turns").spec.version
    assert own.startswith("2+source-")
    assert own != make("tests.adapters.broken:Sound").spec.version


def test_modules_in_the_current_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lying_around_here.py").write_text("from tests.adapters.broken import Sound as Mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert make("lying_around_here:Mine", {"length": 3}).spec.agents == ("left", "right")


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("nothing", {}, "one of drift, pong"),
        ("no_such_package.env:make", {}, "No module named 'no_such_package'"),
        (OWN_CODE + "absent", {}, "has no attribute 'absent'"),
        ("math:pi", {}, "a callable"),
        ("os:getcwd", {}, "an AECEnv, not builtins.str"),
        ("NoSuch-v0", {}, "a gymnasium id that is registered"),
        ("no_such_package:Thing-v1", {}, "its package to be installed"),
        ("CartPole-v1", {}, "one part per agent"),
        ("Foraging-8x8-2p-2f-v3", {"colour": 1}, "can be made"),
        (OWN_CODE + "Together", {"colour": 1}, "parameters that the callable takes"),
        (OWN_CODE + "Together", {"adapter": {"snapshot": "x"}}, "one of auto, native, copy, replay"),
        (OWN_CODE + "Together", {1: 2}, "a string"),
        (OWN_CODE + "Together", {"size": {1, 2}}, "JSON values"),
        (["pong"], {}, "one of drift, pong"),
    ],
)
def test_what_leads_nowhere_says_so(name: Any, parameters: dict[Any, Any], words: str) -> None:
    with pytest.raises(GameError) as refused:
        make(name, parameters)
    assert words in str(refused.value)


def test_state_that_cannot_be_copied_is_another_error() -> None:
    with pytest.raises(Unsafe, match=r"env\.counter is ctypes"):
        make("tests.adapters.broken:CHandle")


def test_code_that_others_name_is_not_imported() -> None:
    sys.modules.pop("this", None)
    for name in ("this:s", "antigravity:fly", "this:Thing-v0"):
        with pytest.raises(GameError, match="code that is named here is not imported"):
            make(name, foreign=False)
    assert "this" not in sys.modules
    assert isinstance(make("pong", foreign=False), Game)
    assert isinstance(make("tictactoe", foreign=False), Game)


def test_an_experiment_file_may_name_any_game() -> None:
    settings = GameSettings(id=OWN_CODE + "Together", parameters={"size": 2, "adapter": {"fps": 12}})
    game = settings.make()
    assert (game.spec.fps, game.spec.players) == (12, 2)
    with pytest.raises(ValueError, match=r"adapter\.fps"):
        GameSettings(id=OWN_CODE + "Together", parameters={"adapter": {"fps": 0}})
    with pytest.raises(ValueError, match=r"pong\.size"):
        GameSettings(id="pong", parameters={"size": 1})


def test_the_shelf_is_listed_with_its_extras() -> None:
    listed = {entry.id: entry for entry in available()}
    for game_id, entry in SHELF.items():
        assert listed[game_id].extra == entry.extra
        assert declared(game_id) == entry.parameters
    check_parameters("rware", {"size": "small"})
    with pytest.raises(GameError, match=r"rware\.size"):
        check_parameters("rware", {"size": "huge"})


def test_without_its_extra_a_game_of_the_shelf_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHELF, "hanabi", SHELF["hanabi"]._replace(needs=("no_such_module",)))
    for ask in (declared, make):
        with pytest.raises(GameError, match=r"pip install rollgym\[classic\]"):
            ask("hanabi")
