"""The kitchen as a picture and as text. Reads a :class:`View`, knows no rules."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollgym.games.builtin.kitchen.layouts import (
    COUNTER,
    DISHES,
    DOWN,
    FLOOR,
    HATCH,
    LEFT,
    ONIONS,
    POT,
    RIGHT,
    UP,
    Layout,
)

Picture = NDArray[np.uint8]
Canvas = NDArray[np.float32]
Colour = tuple[float, float, float]

CELL = 24
"""Pixels of a cell's side at scale 1; shapes are given in these."""

_TILES = ((238.0, 228.0, 208.0), (228.0, 216.0, 194.0))
_WOOD, _WOOD_EDGE = (150.0, 106.0, 72.0), (118.0, 80.0, 52.0)
_HATCH, _IRON, _SOUP = (104.0, 160.0, 120.0), (62.0, 66.0, 78.0), (226.0, 142.0, 40.0)
_ONION, _ONION_RING = (214.0, 120.0, 150.0), (160.0, 70.0, 104.0)
_DISH, _DISH_RING = (250.0, 250.0, 248.0), (184.0, 190.0, 204.0)
_CRATE, _RACK, _GREEN, _INK = (196.0, 156.0, 96.0), (120.0, 132.0, 156.0), (96.0, 200.0, 110.0), (40.0, 36.0, 44.0)
_COOKS: tuple[Colour, ...] = ((232.0, 96.0, 60.0), (44.0, 140.0, 220.0), (128.0, 84.0, 200.0))
_DIRECTIONS = {UP: (0, -1), DOWN: (0, 1), LEFT: (-1, 0), RIGHT: (1, 0)}
_NOTHING, _ONION_ITEM, _DISH_ITEM, _SOUP_ITEM = range(4)


class View(NamedTuple):
    """What is to be seen."""

    layout: Layout
    frame: int
    served: int
    cooks: tuple[tuple[int, int, int], ...]
    """Cell, direction, item held."""
    counters: tuple[int, ...]
    """The item on each counter."""
    pots: tuple[tuple[int, int, int], ...]
    """Onions, frames cooked, frames it takes."""
    names: tuple[str, ...]


def draw(view: View, scale: int) -> Picture:
    """An RGB picture, ``CELL * scale`` pixels a cell. Raises ValueError if ``scale < 1``."""
    if scale < 1:
        raise ValueError(f"scale = {scale}: expected an integer of at least 1")
    canvas = _room(view.layout, scale).copy()
    for cell, item in zip(view.layout.counters, view.counters, strict=True):
        _item(canvas, *_middle(view.layout, cell), item, scale, 1.0)
    for cell, (onions, cooked, needed) in zip(view.layout.pots, view.pots, strict=True):
        _pot(canvas, *_middle(view.layout, cell), onions, cooked / needed, scale)
    for cook, (cell, facing, item) in enumerate(view.cooks):
        _cook(canvas, *_middle(view.layout, cell), facing, item, _COOKS[cook % len(_COOKS)], scale)
    rgb: Picture = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return rgb


def _middle(layout: Layout, cell: int) -> tuple[float, float]:
    row, column = layout.position(cell)
    return (column + 0.5) * CELL, (row + 0.5) * CELL


@lru_cache(maxsize=8)
def _room(layout: Layout, scale: int) -> Canvas:
    """What never moves: tiles, counters, boxes, racks and hatches."""
    canvas = np.zeros((layout.rows * CELL * scale, layout.columns * CELL * scale, 3), np.float32)
    for cell, kind in enumerate(layout.kinds):
        row, column = layout.position(cell)
        x, y = _middle(layout, cell)
        if kind == FLOOR:
            _block(canvas, x, y, 12, 12, 0, _TILES[(row + column) % 2], scale)
            continue
        _block(canvas, x, y, 12, 12, 0, _WOOD_EDGE, scale)
        _block(canvas, x, y, 11, 11, 2, _HATCH if kind == HATCH else _WOOD, scale)
        if kind == HATCH:
            _block(canvas, x, y, 8, 1, 1, _DISH, scale)
            _block(canvas, x, y - 4, 8, 1, 1, _DISH, scale)
            _block(canvas, x, y + 4, 8, 1, 1, _DISH, scale)
        elif kind == ONIONS:
            _block(canvas, x, y, 9, 9, 1, _CRATE, scale)
            for dx, dy in ((-4, -3), (4, -3), (0, 4)):
                _item(canvas, x + dx, y + dy, _ONION_ITEM, scale, 0.8)
        elif kind == DISHES:
            _block(canvas, x, y, 9, 9, 1, _RACK, scale)
            for dy in (2, 0, -2):
                _item(canvas, x, y + dy, _DISH_ITEM, scale, 1.2)
        elif kind == POT:
            _block(canvas, x, y, 9, 9, 2, _INK, scale)
    return canvas


def _pot(canvas: Canvas, x: float, y: float, onions: int, done: float, scale: int) -> None:
    _block(canvas, x, y, 0, 0, 8.5, _IRON, scale)
    _block(canvas, x, y, 0, 0, 6.5, _SOUP if done >= 1 else _INK, scale)
    if onions and done < 1:
        for dx, dy in ((-2.6, 1.6), (2.6, 1.6), (0, -2.8))[:onions]:
            _item(canvas, x + dx, y + dy, _ONION_ITEM, scale, 0.6)
    if done > 0:
        half = 9 * min(done, 1.0)
        _block(canvas, x - 9 + half, y + 10, half, 1, 0.5, _GREEN if done >= 1 else _SOUP, scale)


def _cook(canvas: Canvas, x: float, y: float, facing: int, item: int, colour: Colour, scale: int) -> None:
    dx, dy = _DIRECTIONS[facing]
    _block(canvas, x, y + 1, 0, 0, 9.5, _INK, scale, strength=0.35)
    _block(canvas, x, y, 0, 0, 8.5, colour, scale)
    _block(canvas, x - dx * 2, y - dy * 2, 0, 0, 5.5, _DISH, scale)
    _block(canvas, x - dx * 2, y - dy * 2, 0, 0, 4.0, _DISH_RING, scale, strength=0.5)
    for side in (-1, 1):
        _block(canvas, x + dx * 6 + dy * 3 * side, y + dy * 6 + dx * 3 * side, 0, 0, 1.3, _INK, scale)
    if item != _NOTHING:
        _item(canvas, x + dx * 8, y + dy * 8, item, scale, 0.9)


def _item(canvas: Canvas, x: float, y: float, item: int, scale: int, size: float) -> None:
    if item == _ONION_ITEM:
        _block(canvas, x, y, 0, 0, 4.4 * size, _ONION_RING, scale)
        _block(canvas, x, y, 0, 0, 3.4 * size, _ONION, scale)
        _block(canvas, x, y, 0, 0, 1.2 * size, _ONION_RING, scale)
    elif item in (_DISH_ITEM, _SOUP_ITEM):
        _block(canvas, x, y, 0, 0, 5.4 * size, _DISH_RING, scale)
        _block(canvas, x, y, 0, 0, 4.6 * size, _DISH, scale)
        _block(canvas, x, y, 0, 0, 3.2 * size, _SOUP if item == _SOUP_ITEM else _DISH_RING, scale)


def _block(
    canvas: Canvas,
    x: float,
    y: float,
    half_x: float,
    half_y: float,
    radius: float,
    colour: Colour,
    scale: int,
    strength: float = 1.0,
) -> None:
    """Paint a rectangle of the given half sides with round corners; one without sides is a disc."""
    if half_x or half_y:
        half_x, half_y = half_x - radius, half_y - radius
    left, right = (int((x + d * (half_x + radius + 1)) * scale) for d in (-1, 1))
    top, bottom = (int((y + d * (half_y + radius + 1)) * scale) for d in (-1, 1))
    part = canvas[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    xs = (np.arange(part.shape[1], dtype=np.float32) + (max(left, 0) + 0.5)) / scale - x
    ys = (np.arange(part.shape[0], dtype=np.float32) + (max(top, 0) + 0.5)) / scale - y
    over_x, over_y = (np.abs(xs) - half_x)[None, :], (np.abs(ys) - half_y)[:, None]
    outside = np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0)) + np.minimum(np.maximum(over_x, over_y), 0)
    # Pixels partly within the shape are partly covered: smooth edges.
    cover = np.clip(0.5 - (outside - radius) * scale, 0, 1) * strength
    part += (np.array(colour, np.float32) - part) * cover.astype(np.float32)[:, :, None]


_SYMBOLS = {FLOOR: "· ", COUNTER: "▒▒", ONIONS: "OO", DISHES: "DD", HATCH: "SS"}
_ARROWS = {UP: "▲", DOWN: "▼", LEFT: "◀", RIGHT: "▶"}
_ON_COUNTER = ("▒▒", "▒o", "▒u", "▒s")
_HELD = ("nothing", "an onion", "a dish", "a soup")


def text(view: View) -> str:
    """The plan with two characters a cell, then a line for every pot and cook."""
    layout = view.layout
    cells = [_SYMBOLS.get(kind, "P ") for kind in layout.kinds]
    for cell, item in zip(layout.counters, view.counters, strict=True):
        cells[cell] = _ON_COUNTER[item]
    lines = [f"frame {view.frame}, {view.served} served", ""]
    stoves = []
    for number, (cell, (onions, cooked, needed)) in enumerate(zip(layout.pots, view.pots, strict=True)):
        full = onions == 3
        cells[cell] = "P*" if full and cooked >= needed else "P~" if full else f"P{onions}"
        state = "ready" if full and cooked >= needed else f"cooks, {cooked} of {needed}" if full else f"{onions} of 3"
        stoves.append(f"pot {number}: {state}")
    people = []
    for number, (name, (cell, facing, item)) in enumerate(zip(view.names, view.cooks, strict=True)):
        cells[cell] = f"{number}{_ARROWS[facing]}"
        people.append(f"{number} {name}: {_HELD[item]}")
    rows = [cells[start : start + layout.columns] for start in range(0, len(cells), layout.columns)]
    return "\n".join([*lines, *map("".join, rows), "", *stoves, *people])
