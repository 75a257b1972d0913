"""A bot that cooks in the kitchen, from its observation alone. It plays every layout, also one with two rooms."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rollgym.games.builtin.kitchen.layouts import DISHES, HATCH, ONIONS, Layout, layout
from rollgym.games.builtin.kitchen.rules import DISH, FULL_POT, NOTHING, ONION, SOUP, STAY, USE
from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policy import PolicySeat

_GO = (1, 2, 3, 4)
"""The action for each direction."""


class _Sight(NamedTuple):
    """What a cook sees, in words."""

    me: int
    facing: int
    held: int
    others: tuple[int, ...]
    others_held: tuple[int, ...]
    lying: dict[int, int]
    """Items on counters by cell; 0 for an empty one."""
    filling: dict[int, int]
    """Onions still missing, by the cell of a pot that is not full."""
    full: dict[int, int]
    """Frames until it is ready, by the cell of a pot that is full."""


class CookPolicy:
    """Fetches what is missing, cooks and serves, and goes round the others. What it cannot bring to its place itself
    it leaves on a counter for somebody who can.

    It acts in every ``pace``-th frame and stays in between. A player's actions take effect after the input delay: with
    a pace above it the cook sees what became of one action before it decides on the next.

    In ``slip`` percent of its actions it does something at random: two cooks who want to pass each other in a corridor
    would otherwise wait for ever.
    """

    def __init__(self, seat: PolicySeat, slip: int = 10, pace: int = 4) -> None:
        if seat.spec.id != "kitchen":
            raise GameError("policy", "cook", f"a policy for {seat.spec.id}; cook plays kitchen only")
        self._seat = seat
        self._slip = checked_integer("cook.slip", slip, 0, 100)
        self._pace = checked_integer("cook.pace", pace, 1, 1000)
        self._layout = layout(seat.spec.parameters["layout"])
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> int:
        if (frame + self._seat.agent) % self._pace:
            return STAY
        draws = Draws(self._seat.seed, self._episode_seed, self._seat.agent, frame)
        if draws.below(100) < self._slip:
            return _GO[draws.below(4)]
        sight = _look(self._layout, observation)
        targets = _targets(self._layout, sight)
        if not targets:
            return STAY
        action = _towards(self._layout, sight, targets, around=True)
        if action is None:
            action = _towards(self._layout, sight, targets, around=False)
        return _GO[draws.below(4)] if action is None else action


def _look(plan: Layout, observation: Observation) -> _Sight:
    grid = observation["grid"].ravel().tolist()
    cooks = observation["cooks"].tolist()
    cells = [row * plan.columns + column for row, column, _, _ in cooks]
    pots = list(zip(plan.pots, observation["pots"].tolist(), strict=True))
    return _Sight(
        me=cells[0],
        facing=cooks[0][2],
        held=cooks[0][3],
        others=tuple(cells[1:]),
        others_held=tuple([cook[3] for cook in cooks[1:]]),
        lying={cell: max(0, grid[cell] - HATCH) for cell in plan.counters},
        filling={cell: FULL_POT - onions for cell, (onions, _) in pots if onions < FULL_POT},
        full={cell: left for cell, (onions, left) in pots if onions == FULL_POT},
    )


def _targets(plan: Layout, sight: _Sight) -> set[int]:
    """The cells at which the cook has something to do with what it holds."""
    room = plan.room[sight.me]

    def mine(cells: set[int]) -> set[int]:
        return {cell for cell in cells if room in plan.rooms_beside[cell]}

    if sight.held != NOTHING:
        places = _places(plan, sight)
        if places:
            # What cannot be brought there is passed on; while the shelf is full that has to wait.
            return mine(places) or mine(_free(sight) & _shelf(plan, places))
        return mine(_free(sight))  # nobody needs it: out of the hands
    for item, source in ((SOUP, None), (DISH, DISHES), (ONION, ONIONS)):
        missing = _missing(sight, item)
        ready = {cell for cell, lies in sight.lying.items() if lies == item}
        if missing <= 0 and not (item == SOUP and ready):
            continue
        places = _places(plan, sight._replace(held=item))
        passed_on = ready & _shelf(plan, places)
        if mine(places):
            found = mine(ready)
        elif missing > len(passed_on):
            found = mine(ready - passed_on)
        else:
            continue  # enough lies there for those who can bring it to its place
        found |= mine(set(plan.cells_of(source))) if source is not None else set()
        if found:
            return found
    return set()


def _places(plan: Layout, sight: _Sight) -> set[int]:
    """Where the item that is held is wanted."""
    if sight.held == SOUP:
        return set(plan.cells_of(HATCH))
    if sight.held == ONION:
        return set(sight.filling)
    soon = min(sight.full.values(), default=0)
    return {cell for cell, left in sight.full.items() if left == soon}


def _missing(sight: _Sight, item: int) -> int:
    """How many of an item nobody carries yet."""
    if item == SOUP:
        return 0
    wanted = sum(sight.filling.values()) if item == ONION else len(sight.full)
    return wanted - sight.others_held.count(item)


def _free(sight: _Sight) -> set[int]:
    return {cell for cell, lies in sight.lying.items() if lies == NOTHING}


def _shelf(plan: Layout, places: set[int]) -> set[int]:
    """Counters that those can reach who can reach one of ``places``."""
    rooms = {room for cell in places for room in plan.rooms_beside[cell]}
    return {cell for cell in plan.counters if rooms & plan.rooms_beside[cell]}


def _towards(plan: Layout, sight: _Sight, targets: set[int], *, around: bool) -> int | None:
    """The first action on a shortest way to stand before a target and use it; None if there is no way."""
    blocked = set(sight.others) if around else set()
    first: dict[int, int] = {sight.me: STAY}
    queue = deque([sight.me])
    while queue:
        cell = queue.popleft()
        for direction, step in enumerate(plan.steps):
            beside = cell + step
            if beside in targets:
                if cell != sight.me:
                    return first[cell]
                return _use(sight, beside) if sight.facing == direction else _GO[direction]
            if plan.floor[beside] and beside not in first and beside not in blocked:
                first[beside] = _GO[direction] if cell == sight.me else first[cell]
                queue.append(beside)
    return None


def _use(sight: _Sight, target: int) -> int:
    """Use it, or wait if what is in the pot still cooks."""
    return STAY if sight.held == DISH and sight.full.get(target, 0) else USE
