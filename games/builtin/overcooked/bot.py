"""A bot that cooks in Overcooked, from its observation alone."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policy import PolicySeat

Cell = tuple[int, int]

# Where things stand in cogrid's default observation: see docs/games/overcooked.md.
_DIRECTION, _HELD, _POTS, _DISTANCE, _POSITION = slice(0, 4), slice(4, 9), slice(29, 53), slice(53, 55), slice(55, 57)
_OTHER_HELD = slice(61 + 4, 61 + 9)
_MASKS = slice(122, 892)
_MASK_SHAPE = (10, 7, 11)
_COUNTER, _DELIVERY, _ONION, _, _ONIONS, _PLATE, _PLATES, _, _, _TOMATOES = range(10)
_NAMES = ("onion", "soup", "plate", "tomato", "soup")

# Action, and the direction a cook looks at after it, as a step in (row, column).
_MOVES: tuple[tuple[int, Cell], ...] = ((0, (-1, 0)), (1, (1, 0)), (2, (0, -1)), (3, (0, 1)))
_LOOKS: tuple[Cell, ...] = ((0, 1), (1, 0), (0, -1), (-1, 0))
_INTERACT, _NOOP = 4, 6


class _Pot(NamedTuple):
    cell: Cell
    ready: bool
    cooking: bool


class _Kitchen(NamedTuple):
    """What a cook sees, in words."""

    me: Cell
    looks: Cell
    other: Cell
    held: str | None
    other_held: str | None
    pots: tuple[_Pot, ...]
    masks: NDArray[np.bool_]
    blocked: NDArray[np.bool_]

    def cells_with(self, *masks: int) -> set[Cell]:
        """The cells in which one of these things is."""
        found = np.logical_or.reduce([self.masks[m] for m in masks])
        return {(int(r), int(c)) for r, c in np.argwhere(found)}


class ChefPolicy:
    """Fetches onions and plates, cooks and serves, and goes round the other cook.

    In ``slip`` percent of its frames it does something at random: two chefs who want the same cell would otherwise
    wait for each other. It needs a kitchen in which one cook can reach everything; elsewhere it mostly wanders.
    """

    def __init__(self, seat: PolicySeat, slip: int = 10) -> None:
        if seat.spec.id != "overcooked":
            raise GameError("policy", "chef", f"a policy for {seat.spec.id}; chef plays overcooked only")
        self._seat = seat
        self._slip = checked_integer("chef.slip", slip, 0, 100)
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> int:
        draws = Draws(self._seat.seed, self._episode_seed, self._seat.agent, frame)
        if draws.below(100) < self._slip:
            return draws.below(4)
        kitchen = _read(observation)
        targets = _targets(kitchen)
        action = _towards(kitchen, targets, around=True)
        if action is None:
            action = _towards(kitchen, targets, around=False)
        return draws.below(4) if action is None else action


def _read(observation: Observation) -> _Kitchen:
    me = _cell(observation[_POSITION])
    away = _cell(observation[_DISTANCE])
    pots = [
        _Pot(_cell(pot[10:12]), ready=bool(pot[1]), cooking=bool(pot[3]))
        for pot in observation[_POTS].reshape(2, 12)
        if pot[0]  # a kitchen with one pot has zeros for the second
    ]
    masks = observation[_MASKS].reshape(_MASK_SHAPE) > 0
    blocked = np.logical_or.reduce([masks[m] for m in (_COUNTER, _DELIVERY, _ONIONS, _PLATES, _TOMATOES)])
    for pot in pots:
        blocked[pot.cell] = True
    return _Kitchen(
        me=me,
        looks=_LOOKS[int(np.argmax(observation[_DIRECTION]))],
        other=(me[0] - away[0], me[1] - away[1]),
        held=_item(observation[_HELD]),
        other_held=_item(observation[_OTHER_HELD]),
        pots=tuple(pots),
        masks=masks,
        blocked=blocked,
    )


def _cell(values: NDArray[np.float32]) -> Cell:
    return int(values[0]), int(values[1])


def _item(one_hot: NDArray[np.float32]) -> str | None:
    return _NAMES[int(np.argmax(one_hot))] if one_hot.any() else None


def _targets(kitchen: _Kitchen) -> set[Cell]:
    """The cells at which the cook has something to do with what it holds."""
    full = {pot.cell for pot in kitchen.pots if pot.ready or pot.cooking}
    filling = {pot.cell for pot in kitchen.pots} - full
    if kitchen.held == "soup":
        return kitchen.cells_with(_DELIVERY)
    if kitchen.held == "plate" and full:
        return {pot.cell for pot in kitchen.pots if pot.ready} or full
    if kitchen.held == "onion" and filling:
        return filling
    if kitchen.held is not None:
        # Nothing to do with it: out of the way, onto a counter with nothing on it.
        return kitchen.cells_with(_COUNTER) - kitchen.cells_with(_ONION, _PLATE)
    wants_plate = full and (kitchen.other_held != "plate" or len(full) > 1)
    return kitchen.cells_with(_PLATE, _PLATES) if wants_plate else kitchen.cells_with(_ONION, _ONIONS)


def _towards(kitchen: _Kitchen, targets: set[Cell], *, around: bool) -> int | None:
    """The first action on a shortest way to stand before a target and use it; None if there is no way."""
    blocked = kitchen.blocked
    if around:
        blocked = blocked.copy()
        blocked[kitchen.other] = True
    first: dict[Cell, int] = {kitchen.me: _NOOP}
    queue = deque([kitchen.me])
    while queue:
        cell = queue.popleft()
        for action, (dr, dc) in _MOVES:
            beside = cell[0] + dr, cell[1] + dc
            if beside in targets:
                if cell != kitchen.me:
                    return first[cell]
                return _use(kitchen, beside) if kitchen.looks == (dr, dc) else action
            inside = 0 <= beside[0] < blocked.shape[0] and 0 <= beside[1] < blocked.shape[1]
            if inside and beside not in first and not blocked[beside]:
                first[beside] = action if cell == kitchen.me else first[cell]
                queue.append(beside)
    return None


def _use(kitchen: _Kitchen, target: Cell) -> int:
    """Interact, or wait if what is in the pot still cooks."""
    waits = kitchen.held == "plate" and any(pot.cell == target and not pot.ready for pot in kitchen.pots)
    return _NOOP if waits else _INTERACT
