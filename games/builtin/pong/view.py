"""Pong as a picture and as text. Reads a :class:`View`, knows no rules."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Canvas = NDArray[np.float32]

UNITS_PER_PIXEL = 4
_PADDLE_WIDTH = 16
_GLOW_REACH = 80

_FLOOR = (16.0, 20.0, 38.0)
_LINE = (70.0, 84.0, 130.0)
_LEFT = (255.0, 138.0, 76.0)
_RIGHT = (72.0, 202.0, 228.0)
_BALL = (250.0, 247.0, 235.0)

_DIGITS = {
    "0": ("111", "101", "101", "101", "111"),
    "1": ("010", "110", "010", "010", "111"),
    "2": ("111", "001", "111", "100", "111"),
    "3": ("111", "001", "111", "001", "111"),
    "4": ("101", "101", "111", "001", "001"),
    "5": ("111", "100", "111", "001", "111"),
    "6": ("111", "100", "111", "101", "111"),
    "7": ("111", "001", "010", "010", "010"),
    "8": ("111", "101", "111", "101", "111"),
    "9": ("111", "101", "111", "001", "111"),
}


class View(NamedTuple):
    """What is to be seen, in court units."""

    court: tuple[int, int]
    ball: tuple[int, int]
    velocity: tuple[int, int]
    radius: int
    paddles: tuple[int, int]
    half: int
    face: int
    scores: tuple[int, int]
    rally: int
    serving: bool
    names: tuple[str, str]


def draw(view: View, scale: int) -> Picture:
    """An RGB picture, ``scale`` times as fine as one pixel per four units. Raises ValueError if ``scale < 1``."""
    if scale < 1:
        raise ValueError(f"scale = {scale}: expected an integer of at least 1")
    width, height = view.court
    unit = UNITS_PER_PIXEL / scale
    canvas = _floor(width, height, scale)
    for side, (score, colour) in enumerate(zip(view.scores, (_LEFT, _RIGHT), strict=True)):
        _score(canvas, score, (width * (3 + 2 * side)) // 8, 56, colour, 1 / unit)
    for side, (centre, colour) in enumerate(zip(view.paddles, (_LEFT, _RIGHT), strict=True)):
        x = view.face - _PADDLE_WIDTH / 2 if side == 0 else width - view.face + _PADDLE_WIDTH / 2
        bar = (x, centre, _PADDLE_WIDTH / 2, view.half)
        _bar(canvas, bar, 0, unit, colour, glow=0.35)
    if any(view.velocity):
        # The way the ball came, from its present speed: the picture is a function of the state alone.
        for back in range(8, 0, -1):
            x, y = view.ball[0] - view.velocity[0] * back, view.ball[1] - view.velocity[1] * back
            if 0 < y < height:
                _bar(canvas, (x, y, 0, 0), view.radius * (1 - back / 11), unit, _BALL, strength=0.3 - 0.03 * back)
    _bar(canvas, (*view.ball, 0, 0), view.radius, unit, _BALL, glow=0.4)
    rgb: Picture = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return rgb


@lru_cache(maxsize=8)
def _floor_plan(width: int, height: int, scale: int) -> Canvas:
    """What never changes: a floor that is a little lighter in the middle, the edges and the middle line."""
    unit = UNITS_PER_PIXEL / scale
    xs = (np.arange(width // UNITS_PER_PIXEL * scale, dtype=np.float32) + 0.5) * unit
    ys = (np.arange(height // UNITS_PER_PIXEL * scale, dtype=np.float32) + 0.5) * unit
    far = ((xs / width - 0.5) ** 2)[None, :] + ((ys / height - 0.5) ** 2)[:, None]
    canvas = (np.array(_FLOOR, np.float32) * (1.25 - 0.9 * far)[:, :, None]).astype(np.float32)
    dashes = ((ys // 24) % 2 == 0)[:, None] & (np.abs(xs - width / 2) < 3)[None, :]
    edges = ((ys < 5) | (ys > height - 5))[:, None] | np.zeros(len(xs), np.bool_)[None, :]
    _paint(canvas, (dashes | edges).astype(np.float32) * np.float32(0.8), _LINE)
    return canvas


def _floor(width: int, height: int, scale: int) -> Canvas:
    return _floor_plan(width, height, scale).copy()


def _bar(
    canvas: Canvas,
    bar: tuple[float, float, float, float],
    radius: float,
    unit: float,
    colour: tuple[float, float, float],
    *,
    strength: float = 1.0,
    glow: float = 0.0,
) -> None:
    """Paint an upright bar ``(x, y, half_x, half_y)`` with round edges of ``radius``: for a bar of no size, a disc."""
    x, y, half_x, half_y = bar
    reach = radius + (_GLOW_REACH if glow else unit)
    left, right = (int((x + d * (half_x + reach)) / unit) for d in (-1, 1))
    top, bottom = (int((y + d * (half_y + reach)) / unit) for d in (-1, 1))
    part = canvas[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
    if not part.size:
        return
    xs = (np.arange(part.shape[1], dtype=np.float32) + (max(left, 0) + 0.5)) * unit - x
    ys = (np.arange(part.shape[0], dtype=np.float32) + (max(top, 0) + 0.5)) * unit - y
    outside = np.hypot(np.maximum(np.abs(xs) - half_x, 0)[None, :], np.maximum(np.abs(ys) - half_y, 0)[:, None])
    outside -= radius
    if glow:
        _paint(part, (glow * np.exp(-np.maximum(outside, 0) / 16)).astype(np.float32), colour)
    # Pixels partly within the shape are partly covered: smooth edges.
    _paint(part, (np.clip(1 - outside / unit, 0, 1) * strength).astype(np.float32), colour)


def _paint(canvas: Canvas, cover: Canvas, colour: tuple[float, float, float]) -> None:
    canvas += (np.array(colour, np.float32) - canvas) * cover[:, :, None]


def _score(canvas: Canvas, score: int, x: int, y: int, colour: tuple[float, float, float], per_unit: float) -> None:
    """The number centred at ``x``, its top at ``y``, in blocks of 20 units."""
    block = max(1, round(20 * per_unit))
    digits = [np.array([[int(c) for c in row] for row in _DIGITS[d]], np.float32) for d in str(score)]
    gap = np.zeros((5, 1), np.float32)
    rows = np.hstack([part for d in digits for part in (d, gap)][:-1])
    glyph = np.kron(rows, np.full((block, block), 0.55, np.float32)).astype(np.float32)
    top, left = round(y * per_unit), round(x * per_unit) - glyph.shape[1] // 2
    _paint(canvas[top : top + glyph.shape[0], left : left + glyph.shape[1]], glyph, colour)


def text(view: View, columns: int, rows: int) -> str:
    """``rows`` lines of ``columns`` characters. Raises ValueError if the court would not fit."""
    if columns < 30 or rows < 8:
        raise ValueError(f"columns, rows = {columns}, {rows}: expected at least 30, 8")
    inner, lines = columns - 2, rows - 3
    width, height = view.court
    halves = 2 * lines  # two rows of half blocks in each line

    grid = [["┊" if c == inner // 2 and r % 2 == 0 else " " for c in range(inner)] for r in range(lines)]
    for side, centre in enumerate(view.paddles):
        column = view.face * inner // width if side == 0 else inner - 1 - view.face * inner // width
        first = (centre - view.half) * halves // height
        last = max(first, (centre + view.half) * halves // height - 1)
        for r in range(lines):
            upper, lower = first <= 2 * r <= last, first <= 2 * r + 1 <= last
            if upper or lower:
                grid[r][column] = "█" if upper and lower else "▀" if upper else "▄"
    column = min(inner - 1, max(0, view.ball[0] * inner // width))
    grid[min(lines - 1, max(0, view.ball[1] * lines // height))][column] = "○" if view.serving else "●"

    left, right = f" {view.names[0]} {view.scores[0]}", f"{view.scores[1]} {view.names[1]} "
    note = "serve" if view.serving else f"rally {view.rally}"
    head = left + note.center(columns - len(left) - len(right)) + right
    body = ["│" + "".join(line) + "│" for line in grid]
    return "\n".join([head, "╭" + "─" * inner + "╮", *body, "╰" + "─" * inner + "╯"])
