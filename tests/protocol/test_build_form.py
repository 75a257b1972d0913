"""In which form rollgym is here: told from the place of the modules themselves."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import rollgym
from rollgym.protocol.build_form import build_form, is_compiled
from scripts.compiled_tree import ROOT

COMPILED_TREE = Path(rollgym.__file__).parents[1] != ROOT


@pytest.mark.parametrize(
    "name",
    [
        "client_sim.peer.peer",
        "client_sim.record.recorder",
        "client_sim.rollback.session",
        "client_sim.rollback.synctest",
        "client_sim.simulator.simulator",
        "games.builtin.drift.rules",
        "games.builtin.pong.rules",
        "protocol.packets",
    ],
)
def test_what_is_played_at_every_frame_has_the_form_of_the_tree(name: str) -> None:
    module = importlib.import_module(f"rollgym.{name}")
    assert str(module.__file__).endswith(".py") is not COMPILED_TREE


def test_the_form_is_said() -> None:
    assert is_compiled() is COMPILED_TREE
    assert build_form() == ("compiled" if COMPILED_TREE else "pure Python")
