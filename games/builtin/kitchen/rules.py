"""Kitchen: two or three cooks make onion soup together. Everything is an integer.

Three onions fill a pot, which then cooks by itself; a dish takes the soup out, and the hatch takes the dish. All share
every reward. The plans are in :mod:`rollgym.games.builtin.kitchen.layouts`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import xxhash
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.builtin.kitchen import view as kitchen_view
from rollgym.games.builtin.kitchen.collisions import without_collisions
from rollgym.games.builtin.kitchen.layouts import (
    COUNTER,
    DISHES,
    DOWN,
    HATCH,
    LAYOUTS,
    LEFT,
    ONIONS,
    POT,
    RIGHT,
    UP,
    layout,
)
from rollgym.games.builtin.xorshift import start_rng, xorshift32
from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.info import NO_INFO, FrozenInfo
from rollgym.games.parameters import Parameter, resolve

STAY, GO_UP, GO_DOWN, GO_LEFT, GO_RIGHT, USE = range(6)
NOTHING, ONION, DISH, SOUP = range(4)
FULL_POT = 3
"""Onions in a pot that cooks."""
SOUP_REWARD = 1.0

PARAMETERS = (
    Parameter("layout", "studio", "floor plan", choices=LAYOUTS),
    Parameter("cooks", 2, "agents", low=2, high=3),
    Parameter("max_frames", 900, "frames after which all agents are truncated; None: no limit", low=1, optional=True),
    Parameter("cook_time", 60, "frames from the third onion to the soup", low=1, high=10_000),
    Parameter("orders", None, "soups that end the episode; None: no end", low=1, high=10_000, optional=True),
)

State = tuple[int, int, int, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""frame, rng, soups served, then per cook its cell, what it faces and what it holds, what lies on each counter, and
per pot its onions, plus once there are three the frames it has cooked."""

FIELDS = ("frame", "rng", "served", "cells", "facing", "held", "counters", "pots")

_FACES = {GO_UP: UP, GO_DOWN: DOWN, GO_LEFT: LEFT, GO_RIGHT: RIGHT}
_BYTES = tuple(bytes([action]) for action in range(6))
_MOVES = {_BYTES[action]: face for action, face in _FACES.items()}
_USE = _BYTES[USE]
_FOREVER = 1 << 62
_xxh3 = xxhash.xxh3_64_intdigest


class Kitchen(Game):
    """Its whole state is one immutable tuple, so saving and loading pass a reference."""

    def __init__(self, **parameters: Any) -> None:
        """Parameters: see :data:`PARAMETERS`. Raises :class:`~rollgym.games.errors.GameError`."""
        p = resolve("kitchen", PARAMETERS, parameters)
        self.layout = layout(p["layout"])
        self._cooks: int = p["cooks"]
        self._ready: int = FULL_POT + p["cook_time"]
        self._last_frame: int = p["max_frames"] or _FOREVER
        self._orders: int = p["orders"] or _FOREVER
        agents = tuple(f"cook_{i}" for i in range(self._cooks))
        self.spec = GameSpec(
            id="kitchen",
            version="1",
            agents=agents,
            action_spaces=tuple(spaces.Discrete(6) for _ in agents),
            observation_spaces=tuple(self._observation_space(p) for _ in agents),
            default_actions=(STAY,) * self._cooks,
            action_names=("stay", "up", "down", "left", "right", "use"),
            fps=30,
            parameters=p,
            max_frames=p["max_frames"],
        )
        self._starts = tuple(permutations(self.layout.starts[: self._cooks]))
        self._turns = [tuple((first + i) % self._cooks for i in range(self._cooks)) for first in range(self._cooks)]
        self._pack = struct.Struct(f"<3I{3 * self._cooks}B{len(self.layout.counters)}B{len(self.layout.pots)}I").pack
        self._positions = [self.layout.position(cell) for cell in range(len(self.layout.kinds))]
        self._plan = bytes(self.layout.kinds)
        self._quiet = self._outcome(0, (NO_INFO,) * self._cooks, terminated=False, truncated=False)
        self._state: State
        self.reset(0)

    def _observation_space(self, p: Mapping[str, Any]) -> spaces.Dict:
        plan = self.layout
        cook = np.array([plan.rows - 1, plan.columns - 1, 3, SOUP], np.uint8)
        pot = np.array([FULL_POT, p["cook_time"]], np.uint16)
        return spaces.Dict(
            {
                "cooks": spaces.Box(0, np.tile(cook, (p["cooks"], 1)), (p["cooks"], 4), np.uint8),
                "grid": spaces.Box(0, HATCH + SOUP, (plan.rows, plan.columns), np.uint8),
                "pots": spaces.Box(0, np.tile(pot, (len(plan.pots), 1)), (len(plan.pots), 2), np.uint16),
                "served": spaces.Box(0, np.iinfo(np.int32).max, (1,), np.int32),
            }
        )

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        rng = start_rng(seed)
        cells = self._starts[(rng >> 8) % len(self._starts)]
        rng = xorshift32(rng)
        facing = tuple((rng >> 2 * cook + 8) % 4 for cook in range(self._cooks))
        plan = self.layout
        self._state = (0, rng, 0, cells, facing, (0,) * self._cooks, (0,) * len(plan.counters), (0,) * len(plan.pots))
        return ({},) * self._cooks

    # -- a frame -------------------------------------------------------------------------------------------------

    def step(self, inputs: JointInput) -> Outcome:
        frame, rng, served, cells, facing, held, counters, pots = self._state
        frame += 1
        floor, steps = self.layout.floor, self.layout.steps
        if inputs != (b"\0",) * self._cooks:
            faces, wanted = list(facing), list(cells)
            for cook, action in enumerate(inputs):
                face = _MOVES.get(action)
                if face is not None:
                    faces[cook] = face
                    target = cells[cook] + steps[face]
                    if floor[target]:
                        wanted[cook] = target
            facing = tuple(faces)
            moved = tuple(wanted)
            if moved != cells:
                rng, cells = without_collisions(rng, cells, moved)
        ready = self._ready
        if any(pots):
            pots = tuple([p + 1 if FULL_POT <= p < ready else p for p in pots])
        outcome = self._quiet
        if _USE in inputs:
            kitchen = _Hands(self, list(held), list(counters), list(pots))
            # Two cooks can want the same thing. Who is first takes turns.
            for cook in self._turns[frame % self._cooks]:
                if inputs[cook] == _USE:
                    kitchen.use(cook, cells[cook] + steps[facing[cook]])
            held, counters, pots = tuple(kitchen.held), tuple(kitchen.counters), tuple(kitchen.pots)
            if kitchen.infos:
                infos = tuple(FrozenInfo(kitchen.infos[c]) if c in kitchen.infos else NO_INFO for c in range(len(held)))
                served += kitchen.served
                outcome = self._outcome(kitchen.served, infos, terminated=served >= self._orders, truncated=False)
        if frame >= self._last_frame and not outcome.terminal:
            outcome = outcome._replace(truncated=(True,) * self._cooks, terminal=True)
        self._state = (frame, rng, served, cells, facing, held, counters, pots)
        return outcome

    def _outcome(
        self, soups: int, infos: tuple[Mapping[str, Any], ...], *, terminated: bool, truncated: bool
    ) -> Outcome:
        every = self._cooks
        rewards = (SOUP_REWARD * soups,) * every
        return Outcome(rewards, (terminated,) * every, (truncated,) * every, infos, terminated or truncated)

    # -- the state -----------------------------------------------------------------------------------------------

    def save(self) -> State:
        return self._state

    def load(self, snapshot: State) -> None:
        self._state = snapshot

    def state_bytes(self, snapshot: State) -> bytes:
        """The values in the order of :data:`FIELDS`: pots and the first three as uint32, all else as uint8."""
        frame, rng, served, cells, facing, held, counters, pots = snapshot
        return self._pack(frame, rng, served, *cells, *facing, *held, *counters, *pots)

    def digest(self, snapshot: State) -> int:
        return _xxh3(self.state_bytes(snapshot))

    def state_fields(self, snapshot: State) -> Mapping[str, Any]:
        return dict(zip(FIELDS, snapshot, strict=True))

    # -- what is seen --------------------------------------------------------------------------------------------

    def observe(self) -> tuple[dict[str, Any], ...]:
        return self.observe_agents(range(self._cooks))

    def observe_agents(self, agents: Sequence[int]) -> tuple[dict[str, Any], ...]:
        """Every cook sees the whole kitchen; in ``cooks`` it is itself the first, the others follow in turn."""
        _, _, served, cells, facing, held, counters, pots = self._state
        plan, position = self.layout, self._positions
        grid = bytearray(self._plan)
        for at, item in enumerate(counters):
            if item:
                grid[plan.counters[at]] = HATCH + item
        cooks = [(*position[cell], face, item) for cell, face, item in zip(cells, facing, held, strict=True)]
        stoves = [(p, 0) if p < FULL_POT else (FULL_POT, self._ready - p) for p in pots]
        cooking = np.array(stoves, np.uint16)
        seen = np.frombuffer(grid, np.uint8).reshape(plan.rows, plan.columns)
        return tuple(
            {
                "cooks": np.array(cooks[agent:] + cooks[:agent], np.uint8),
                "grid": seen.copy(),
                "pots": cooking.copy(),
                "served": np.array((served,), np.int32),
            }
            for agent in agents
        )

    def render(self, scale: int = 2) -> NDArray[np.uint8]:
        """The kitchen as a picture with ``24 * scale`` pixels a cell."""
        return kitchen_view.draw(self._view(), scale)

    def render_text(self) -> str:
        """The kitchen as lines of text, two characters a cell, and a line for each cook and pot."""
        return kitchen_view.text(self._view())

    def _view(self) -> kitchen_view.View:
        frame, _, served, cells, facing, held, counters, pots = self._state
        return kitchen_view.View(
            layout=self.layout,
            frame=frame,
            served=served,
            cooks=tuple(zip(cells, facing, held, strict=True)),
            counters=counters,
            pots=tuple((min(p, FULL_POT), max(0, p - FULL_POT), self._ready - FULL_POT) for p in pots),
            names=self.spec.agents,
        )


class _Hands:
    """What the cooks' hands do in one frame."""

    def __init__(self, game: Kitchen, held: list[int], counters: list[int], pots: list[int]) -> None:
        self._layout = game.layout
        self._ready = game._ready
        self.held = held
        self.counters = counters
        self.pots = pots
        self.served = 0
        self.infos: dict[int, dict[str, int]] = {}

    def use(self, cook: int, cell: int) -> None:
        """Take from, put to, or leave alone the cell that the cook faces."""
        kind, item = self._layout.kinds[cell], self.held[cook]
        if kind == COUNTER:
            at = self._layout.index[cell]
            if (item == NOTHING) != (self.counters[at] == NOTHING):
                self.held[cook], self.counters[at] = self.counters[at], item
        elif kind == ONIONS and item == NOTHING:
            self.held[cook] = ONION
        elif kind == DISHES and item == NOTHING:
            self.held[cook] = DISH
        elif kind == POT:
            self._cook(cook, self._layout.index[cell], item)
        elif kind == HATCH and item == SOUP:
            self.held[cook] = NOTHING
            self.served += 1
            self.infos[cook] = {"served": 1}

    def _cook(self, cook: int, pot: int, item: int) -> None:
        inside = self.pots[pot]
        if item == ONION and inside < FULL_POT:
            self.held[cook] = NOTHING
            self.pots[pot] = inside + 1
            self.infos[cook] = {"potted": inside + 1}
        elif item == DISH and inside == self._ready:
            self.held[cook] = SOUP
            self.pots[pot] = 0
            self.infos[cook] = {"plated": 1}
