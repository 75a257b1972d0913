"""Games by name: what is there, what is refused, and that adapters are imported only when asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollgym.games import registry
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.errors import GameError

OWN = ("drift", "pong", "kitchen")


def test_the_built_in_games_are_listed_and_can_be_made() -> None:
    listed = {game.id: game for game in registry.available()}
    assert list(listed) == ["drift", "pong", "kitchen", "overcooked", *SHELF]
    assert listed["pong"].extra is None
    assert listed["overcooked"].extra == "overcooked"
    made = registry.make("pong", {"points": 2})
    assert made.spec.id == "pong"
    assert made.spec.parameters["points"] == 2
    assert registry.make("drift").spec.parameters == {"max_frames": None}


@pytest.mark.parametrize("name", ["chess", "", None, ["pong"], 3])
def test_an_unknown_game_is_refused_with_those_that_exist(name: object) -> None:
    with pytest.raises(GameError, match=r"^game = .*expected one of drift, pong, kitchen, overcooked"):
        registry.make(name)  # type: ignore[arg-type]


def test_parameters_are_refused_by_name() -> None:
    with pytest.raises(GameError, match=r"pong\.pionts = 3: expected a parameter named points,"):
        registry.make("pong", {"pionts": 3})
    with pytest.raises(GameError, match=r"drift parameter name = 3: expected a string"):
        registry.make("drift", {3: 3})


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rollgym.games.registry", "rollgym.games.env_catalogue.catalogue"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    assert {game.id: game.installed for game in registry.available() if game.extra is None} == dict.fromkeys(OWN, True)
    assert {game.installed for game in registry.available() if game.extra is not None} == {False}
    with pytest.raises(GameError, match=r"pip install rollgym\[overcooked\]"):
        registry.make("overcooked")


def test_listing_games_imports_no_adapter() -> None:
    heavy = "{'cogrid', 'pettingzoo', 'pygame', 'mujoco', 'pyspiel', 'rware'}"
    work = "import sys, rollgym.games.registry as r; r.available(); r.make('pong')"
    code = f"{work}; print(bool({heavy} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_game_error_keeps_its_parts() -> None:
    error = GameError("pong.points", 0, "an integer")
    assert (error.field, error.value, error.expected) == ("pong.points", 0, "an integer")
    assert str(error) == "pong.points = 0: expected an integer"
