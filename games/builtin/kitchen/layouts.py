"""The floor plans of the kitchen, and what can be reached from where.

A plan is drawn with one character per cell: ``#`` counter, ``.`` floor, ``O`` onion box, ``D`` dish rack, ``P`` pot,
``S`` serving hatch, and a digit for the floor on which that cook starts. Its edge has no floor.
"""

from __future__ import annotations

from functools import cache

FLOOR, COUNTER, ONIONS, DISHES, POT, HATCH = range(6)
KINDS = ("floor", "counter", "onion box", "dish rack", "pot", "serving hatch")

UP, DOWN, LEFT, RIGHT = range(4)

_PLANS: dict[str, tuple[str, ...]] = {
    "studio": (
        "##O#P##",
        "#1...2#",
        "D..3..#",
        "#.....#",
        "##S##P#",
    ),
    "island": (
        "###P#P###",
        "#1.....2#",
        "#.#####.#",
        "O.#####.S",
        "#.#####.#",
        "#...3...#",
        "##D###O##",
    ),
    "pass": (
        "##O###P##",
        "#.1#..2.#",
        "O..#....P",
        "#.3#....#",
        "##D###S##",
    ),
    "banquet": (
        "##P##P##P##",
        "#1.......2#",
        "O..##.##..D",
        "#....3....#",
        "O..##.##..D",
        "#.........#",
        "####S#S####",
    ),
}
_CODES = {"#": COUNTER, ".": FLOOR, "O": ONIONS, "D": DISHES, "P": POT, "S": HATCH}

LAYOUTS = tuple(_PLANS)


class Layout:
    """One plan. A cell is numbered ``row * columns + column``."""

    def __init__(self, name: str, plan: tuple[str, ...]) -> None:
        self.name = name
        self.rows = len(plan)
        self.columns = len(plan[0])
        text = "".join(plan)
        self.kinds = tuple(_CODES.get(character, FLOOR) for character in text)
        self.starts = tuple(text.index(digit) for digit in "123")
        self.steps = (-self.columns, self.columns, -1, 1)
        """What up, down, left and right add to a cell's number."""
        self.floor = tuple(kind == FLOOR for kind in self.kinds)
        self.counters = self.cells_of(COUNTER)
        self.pots = self.cells_of(POT)
        self.index = tuple(self._place(cell) for cell in range(len(text)))
        """A counter's place among the counters, a pot's among the pots; -1 for all else."""
        self.room = self._rooms()
        """Cells of floor with the same number can reach each other; -1 for all else."""
        self.rooms_beside = tuple(
            frozenset(self.room[cell + step] for step in self.steps if self._inside(cell, step)) - {-1}
            for cell in range(len(text))
        )
        """For each cell the rooms from which somebody can use it."""

    def cells_of(self, kind: int) -> tuple[int, ...]:
        """All cells of a kind, in reading order."""
        return tuple(cell for cell, found in enumerate(self.kinds) if found == kind)

    def position(self, cell: int) -> tuple[int, int]:
        """Row and column of a cell."""
        return divmod(cell, self.columns)

    def _place(self, cell: int) -> int:
        for cells in (self.counters, self.pots):
            if cell in cells:
                return cells.index(cell)
        return -1

    def _inside(self, cell: int, step: int) -> bool:
        beside = cell + step
        same_row = beside // self.columns == cell // self.columns
        return 0 <= beside < len(self.kinds) and (same_row or abs(step) > 1)

    def _rooms(self) -> tuple[int, ...]:
        room = [-1] * len(self.kinds)
        for first in self.cells_of(FLOOR):
            if room[first] >= 0:
                continue
            number, waiting = max(room) + 1, [first]
            while waiting:
                cell = waiting.pop()
                if self.floor[cell] and room[cell] < 0:
                    room[cell] = number
                    waiting += [cell + step for step in self.steps]
        return tuple(room)


@cache
def layout(name: str) -> Layout:
    """The layout of that name, one of :data:`LAYOUTS`."""
    return Layout(name, _PLANS[name])
