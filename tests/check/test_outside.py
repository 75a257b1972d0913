"""What counts as the user's own code, whose variables no snapshot contains."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from rollgym.checking.process_side_effects import Outside
from rollgym.games.adapters.adapted import AdaptedGame
from tests.adapters.toys import Together


@pytest.mark.parametrize("package", ["games", "server", "client_sim", "protocol", "lab"])
def test_a_labs_own_package_is_its_own_whatever_its_name(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{package}.mine"
    module = ModuleType(name)
    module.COUNTER = []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    module.Mine = type("Mine", (Together,), {"__module__": name})  # type: ignore[attr-defined]
    outside = Outside(AdaptedGame(module.Mine(), game_id=f"{name}:Mine", version="1"))
    assert name in outside.modules
    module.COUNTER.append(1)
    assert outside.changed() == [f"{name}.COUNTER"]
