"""What others implement says of every method what it is given, what it returns, and what it may raise."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from rollgym.games.adapters.family import Family
from rollgym.games.adapters.state import StateMethod
from rollgym.games.contract import Game
from rollgym.games.policy import Policy, RecurrentPolicy
from rollgym.games.snapshot.kinds import Kind, Writer
from rollgym.games.spaces.codec import Codec
from rollgym.games.wrapper import GameWrapper


@pytest.mark.parametrize("seam", [Game, Codec, Policy, RecurrentPolicy, Family, StateMethod, Kind, Writer])
def test_every_method_of_a_seam_has_a_docstring(seam: type[Any]) -> None:
    methods = {name: method for name, method in vars(seam).items() if inspect.isfunction(method)}
    assert [name for name, method in methods.items() if not name.startswith("_") and not method.__doc__] == []


def test_a_wrapper_passes_on_all_that_a_game_can_do() -> None:
    asked = {name for name, method in vars(Game).items() if inspect.isfunction(method)} - {"digest"}
    assert asked <= vars(GameWrapper).keys()
