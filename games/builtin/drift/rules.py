"""Drift: two bodies that accelerate, rub and bounce in a square. The reference game.

Its checksums are known from independent implementations (see ``docs/games/drift.md``), so an engine can be
checked against it and measured on the same work. Everything is an integer.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.builtin.xorshift import start_rng
from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.info import FrozenInfo
from rollgym.games.parameters import Parameter, resolve
from rollgym.games.spaces.row_views import RowLayout, RowObservation

State = tuple[int, ...]
"""frame, rng, hits, then x, y, vx, vy, score of player 0 and of player 1.

Not of 13 ``int``: compiled code would keep that as 13 numbers, and make a new tuple of them at every save and digest.
"""

PARAMETERS = (Parameter("max_frames", None, "frames after which both agents are truncated", low=1, optional=True),)

SIZE = 1024
TOP_SPEED = 8
HIT_DISTANCE = 32
SCORE_REWARD = 1.0
HIT_REWARD = 0.25
_FLOOR = (16, 20, 38)
_COLOURS = ((255, 138, 76), (72, 202, 228))

FIELDS = ("frame", "rng", "hits", "x0", "y0", "vx0", "vy0", "score0", "x1", "y1", "vx1", "vy1", "score1")
_pack = struct.Struct("<3I10i").pack
_xxh3 = xxhash.xxh3_64_intdigest
_FOREVER = 1 << 62


def _speeds(push: int) -> tuple[int, ...]:
    """The next speed for each speed -8..8, indexed by the speed itself (negative speeds count from the end)."""

    def after(v: int) -> int:
        q = max(-TOP_SPEED, min(TOP_SPEED, v + push))
        return q - ((q > 0) - (q < 0)) if push == 0 else q

    return tuple(after(v) for v in [*range(TOP_SPEED + 1), *range(-TOP_SPEED, 0)])


_BY_PUSH = {push: _speeds(push) for push in (-1, 0, 1)}
_BY_BITS = {
    bits: (_BY_PUSH[(bits >> 1 & 1) - (bits & 1)], _BY_PUSH[(bits >> 3 & 1) - (bits >> 2 & 1)]) for bits in range(16)
}
# One look-up per step: joint input -> the speed tables of x0, y0, x1, y1.
_SPEEDS: dict[JointInput, tuple[tuple[int, ...], ...]] = {
    (bytes([a]), bytes([b])): (*_BY_BITS[a], *_BY_BITS[b]) for a in range(16) for b in range(16)
}


def _outcome(scorer: int | None, hit: bool, over: bool) -> Outcome:
    rewards, infos = [], []
    for agent in (0, 1):
        info: dict[str, int] = {}
        if scorer == agent:
            info["scored"] = 1
        if hit:
            info["hit"] = 1
        rewards.append(SCORE_REWARD * (scorer == agent) + HIT_REWARD * hit)
        infos.append(FrozenInfo(info))
    return Outcome((rewards[0], rewards[1]), (False, False), (over, over), (infos[0], infos[1]), over)


# Only so many things can happen in a frame, so outcomes are made once; they are immutable and may be shared.
_QUIET = _outcome(None, hit=False, over=False)
_EVENTS = {
    (scorer, hit, over): _outcome(scorer, hit, over)
    for scorer in (None, 0, 1)
    for hit in (False, True)
    for over in (False, True)
}


def fnv1a_64(data: bytes) -> int:
    """FNV-1a with 64 bits (Fowler, Noll, Vo): the checksum the reference table is given in."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def benchmark_input(player: int, frame: int) -> int:
    """The action ``0..15`` of the reference workload for one player and frame."""
    r = (frame * 2654435761 & 0xFFFFFFFF) ^ (player * 0x85EBCA6B & 0xFFFFFFFF) ^ 0xC0FFEE
    r ^= r >> 15
    r = r * 0x2C1B3C6D & 0xFFFFFFFF
    r ^= r >> 12
    return r & 15


_ACTION_NAMES = tuple(
    "+".join(button for bit, button in enumerate(("left", "right", "up", "down")) if action >> bit & 1) or "nothing"
    for action in range(16)
)


def _observation_space() -> spaces.Dict:
    pair = (2,)
    count = np.iinfo(np.int32).max
    return spaces.Dict(
        {
            "hits": spaces.Box(0, count, (1,), np.int32),
            "other_position": spaces.Box(0, SIZE - 1, pair, np.int32),
            "other_velocity": spaces.Box(-TOP_SPEED, TOP_SPEED, pair, np.int32),
            "position": spaces.Box(0, SIZE - 1, pair, np.int32),
            "scores": spaces.Box(0, count, pair, np.int32),
            "velocity": spaces.Box(-TOP_SPEED, TOP_SPEED, pair, np.int32),
        }
    )


_OBSERVED = RowLayout(_observation_space())


class Drift(Game):
    """The reference game. Its whole state is one immutable tuple, so saving and loading pass a reference."""

    def __init__(self, **parameters: Any) -> None:
        """Parameters: see :data:`PARAMETERS`. Raises :class:`~rollgym.games.errors.GameError`."""
        values = resolve("drift", PARAMETERS, parameters)
        self.spec = GameSpec(
            id="drift",
            version="1",
            agents=("player_0", "player_1"),
            action_spaces=(spaces.Discrete(16), spaces.Discrete(16)),
            observation_spaces=(_observation_space(), _observation_space()),
            default_actions=(0, 0),
            action_names=_ACTION_NAMES,
            fps=60,
            parameters=values,
            max_frames=values["max_frames"],
        )
        self._last_frame: int = values["max_frames"] or _FOREVER
        self._state: State
        self.reset(0)

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self._state = (0, start_rng(seed), 0, 256, 512, 0, 0, 0, 768, 512, 0, 0, 0)
        return ({}, {})

    def step(self, inputs: JointInput) -> Outcome:
        frame, rng, hits, x0, y0, vx0, vy0, score0, x1, y1, vx1, vy1, score1 = self._state
        to_vx0, to_vy0, to_vx1, to_vy1 = _SPEEDS[inputs]

        # The same six lines for each axis of each player: a loop or a call here costs more than the arithmetic.
        vx0 = to_vx0[vx0]
        x0 += vx0
        if x0 < 0:
            x0 = -x0
            vx0 = -vx0
        elif x0 > 1023:
            x0 = 2046 - x0
            vx0 = -vx0
        vy0 = to_vy0[vy0]
        y0 += vy0
        if y0 < 0:
            y0 = -y0
            vy0 = -vy0
        elif y0 > 1023:
            y0 = 2046 - y0
            vy0 = -vy0
        vx1 = to_vx1[vx1]
        x1 += vx1
        if x1 < 0:
            x1 = -x1
            vx1 = -vx1
        elif x1 > 1023:
            x1 = 2046 - x1
            vx1 = -vx1
        vy1 = to_vy1[vy1]
        y1 += vy1
        if y1 < 0:
            y1 = -y1
            vy1 = -vy1
        elif y1 > 1023:
            y1 = 2046 - y1
            vy1 = -vy1

        rng ^= rng << 13 & 0xFFFFFFFF
        rng ^= rng >> 17
        rng ^= rng << 5 & 0xFFFFFFFF
        frame += 1
        dx = x0 - x1
        dy = y0 - y1
        hit = dx * dx + dy * dy < 1024
        if rng & 31 and not hit and frame < self._last_frame:
            self._state = (frame, rng, hits, x0, y0, vx0, vy0, score0, x1, y1, vx1, vy1, score1)
            return _QUIET

        scorer = None
        if not rng & 31:
            scorer = rng >> 8 & 1
            if scorer:
                score1 += 1
            else:
                score0 += 1
        if hit:
            hits += 1
        self._state = (frame, rng, hits, x0, y0, vx0, vy0, score0, x1, y1, vx1, vy1, score1)
        return _EVENTS[scorer, hit, frame >= self._last_frame]

    def save(self) -> State:
        return self._state

    def load(self, snapshot: State) -> None:
        self._state = snapshot

    def state_bytes(self, snapshot: State) -> bytes:
        """The 13 values as 32-bit little-endian integers."""
        return _pack(*snapshot)

    def digest(self, snapshot: State) -> int:
        return _xxh3(_pack(*snapshot))

    def state_fields(self, snapshot: State) -> Mapping[str, Any]:
        return dict(zip(FIELDS, snapshot, strict=True))

    def checksum(self) -> int:
        """FNV-1a 64 of the present state: the figure the reference table lists."""
        return fnv1a_64(_pack(*self._state))

    def observe(self) -> tuple[RowObservation, RowObservation]:
        _, _, hits, x0, y0, vx0, vy0, score0, x1, y1, vx1, vy1, score1 = self._state
        # The keys of the space in sorted order: hits, the other's position and velocity, the own position, the scores,
        # the own velocity.
        return (
            _OBSERVED.observation((hits, x1, y1, vx1, vy1, x0, y0, score0, score1, vx0, vy0)),
            _OBSERVED.observation((hits, x0, y0, vx0, vy0, x1, y1, score1, score0, vx1, vy1)),
        )

    def render(self, size: int = 256) -> NDArray[np.uint8]:
        """The square as a ``(size, size, 3)`` picture: player 0 orange, player 1 blue, each as large as a hit."""
        centres = (np.arange(size) + 0.5) * (SIZE / size)
        picture = np.full((size, size, 3), _FLOOR, np.uint8)
        for player, colour in enumerate(_COLOURS):
            x, y = self._state[3 + 5 * player], self._state[4 + 5 * player]
            near = (centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2 < (HIT_DISTANCE // 2) ** 2
            picture[near] = colour
        return picture

    def render_text(self, columns: int = 60, rows: int = 20) -> str:
        """The square as lines of text; the first one has the figures."""
        frame, _, hits, x0, y0, _, _, score0, x1, y1, _, _, score1 = self._state
        width, height = columns - 2, rows - 3
        grid = [[" "] * width for _ in range(height)]
        for mark, x, y in (("0", x0, y0), ("1", x1, y1)):
            row, column = y * height // SIZE, x * width // SIZE
            grid[row][column] = "X" if grid[row][column] != " " else mark
        head = f" player_0 {score0}  player_1 {score1}  hits {hits}  frame {frame}"
        body = ["│" + "".join(line) + "│" for line in grid]
        return "\n".join([head.ljust(columns), "╭" + "─" * width + "╮", *body, "╰" + "─" * width + "╯"])
