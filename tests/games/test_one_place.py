"""A built-in game, a policy and an adapter family are each named in one table; all else follows from it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces

from rollgym.games import registry
from rollgym.games.adapters import families
from rollgym.games.adapters.family import FamilyKind, Space, Turn
from rollgym.games.builtin.catalogue import BUILT_IN, BuiltIn, gymnasium_ids
from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.errors import GameError
from rollgym.games.policies import catalogue
from rollgym.games.policies.catalogue import POLICIES, Entry, available_policies, make_policy, policy_parameters
from rollgym.games.policies.idle import IdlePolicy
from rollgym.games.policy import PolicySeat

GAMES = Path(__file__).resolve().parents[2] / "games"


class Steady(IdlePolicy):
    """A policy that is in no table."""

    def __init__(self, seat: PolicySeat, calm: int = 3, path: str | None = None) -> None:
        super().__init__(seat)


def test_a_game_that_is_in_the_table_is_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = BuiltIn("rollgym.games.builtin.pong.rules:Pong", "Pong again", policy="tracker")
    monkeypatch.setitem(BUILT_IN, "table_tennis", entry)
    assert {"table_tennis", *BUILT_IN} == {game.id for game in registry.available()} - SHELF.keys()
    assert registry.make("table_tennis").spec.players == 2
    assert registry.default_policy("table_tennis") == "tracker"
    assert registry.is_built_in("table_tennis")
    assert registry.is_plain("table_tennis")
    assert gymnasium_ids()["rollgym/TableTennis-v0"] == "table_tennis"
    with pytest.raises(GameError, match=r"one of drift, .*table_tennis"):
        registry.make("chess")


def test_a_policy_that_is_in_the_table_is_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "steady", Entry(f"{__name__}:Steady", "does nothing, calmly", needs_file=True))
    spec = registry.make("pong").spec
    assert isinstance(make_policy("steady", spec, 0, 0, calm=2), Steady)
    assert policy_parameters("steady", {}) == {"calm": 3, "path": None}
    assert available_policies()["steady"] == "does nothing, calmly"
    assert catalogue.needs_file("steady")
    with pytest.raises(GameError, match=r"steady\.rage = 1: expected a parameter named calm, path"):
        make_policy("steady", spec, 0, 0, rage=1)
    with pytest.raises(GameError, match=r"npcs\.left\.policy"):
        registry.make("pong", {"npcs": {"left": "steady"}})


@pytest.mark.parametrize("game", [*BUILT_IN, *SHELF])
def test_the_policy_of_every_game_is_one_of_ours(game: str) -> None:
    assert registry.default_policy(game) in POLICIES


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_of_the_table_is_there_and_has_defaults_for_everything(name: str) -> None:
    assert inspect.Parameter.empty not in policy_parameters(name, {}).values()
    module = POLICIES[name].place.partition(":")[0]
    assert (GAMES / Path(*module.split(".")[2:])).with_suffix(".py").exists()


def _texts(path: Path) -> set[Any]:
    return {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}


def test_nobody_else_names_a_game_or_a_policy() -> None:
    tables = {GAMES / "builtin/catalogue.py", GAMES / "policies/catalogue.py", GAMES / "env_catalogue/catalogue.py"}
    # What is a word as well, or the name of a package.
    names = {*BUILT_IN, *POLICIES} - {"idle", "random", "overcooked"}
    for path in GAMES.rglob("*.py"):
        inside = path.relative_to(GAMES).parts
        if path in tables or inside[0] == "builtin" or inside[0] == "policies":
            continue
        assert not names & _texts(path) - {registry.ANY_GAME}, path


class Duel:
    """An environment of no known family: ``reset`` and ``step`` know nothing but numbers."""

    def __init__(self) -> None:
        self.moves = 0

    def reset(self, seed: int) -> int:
        self.moves = 0
        return self.moves

    def step(self, one: int, two: int) -> int:
        self.moves += one + two
        return self.moves


class DuelFamily:
    """Drives a duel."""

    def __init__(self, env: Duel) -> None:
        self.env: Any = env
        self.keys: tuple[Hashable, ...] = ("one", "two")
        self.agents: tuple[str, ...] = ("one", "two")
        self.action_spaces: tuple[Space, ...] = (spaces.Discrete(2),) * 2
        self.observation_spaces: tuple[Space, ...] = (spaces.Discrete(10),) * 2
        self.idle: tuple[Any, ...] | None = None
        self.unrecorded: set[str] = set()

    def reset(self, seed: int) -> tuple[Sequence[Any], Sequence[Any]]:
        return [self.env.reset(seed)] * 2, [{}, {}]

    def step(self, actions: Sequence[Any]) -> Turn:
        moves, over = self.env.step(*actions), [self.env.moves > 6] * 2
        return Turn([moves] * 2, [0.0] * 2, over, [False] * 2, [{}, {}], [True] * 2)

    def frames(self) -> int | None:
        return 70


def test_a_family_that_is_in_the_table_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = FamilyKind(
        is_one=lambda env: isinstance(env, Duel),
        looks_like_one=lambda env: False,
        make=lambda env, options: DuelFamily(env),
    )
    assert families.kind_of(Duel()) is None
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, kind))
    game = registry.make(f"{__name__}:Duel")
    assert game.spec.max_frames == 70
    game.reset(1)
    game.step((b"\x01", b"\x00"))
    snapshot = game.save()
    game.step((b"\x01", b"\x01"))
    assert game.observe() == (3, 3)
    game.load(snapshot)
    assert game.observe() == (1, 1)
    with pytest.raises(GameError, match=r"adapter\.wait = True"):
        registry.make(f"{__name__}:Duel", {"adapter": {"wait": True}})
