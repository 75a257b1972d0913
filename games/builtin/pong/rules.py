"""Pong: two paddles, one ball, first to N points. Integer physics, so every machine plays the same game.

The court is :data:`WIDTH` x :data:`HEIGHT` units, x to the right and y down. Player 0 has the left side.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash
from gymnasium import spaces
from numpy.typing import NDArray

from rollgym.games.builtin.pong import view as pong_view
from rollgym.games.builtin.xorshift import start_rng, xorshift32
from rollgym.games.contract import Game, GameSpec, JointInput, Outcome
from rollgym.games.errors import GameError
from rollgym.games.info import NO_INFO, FrozenInfo
from rollgym.games.parameters import Parameter, resolve
from rollgym.games.spaces.row_views import RowLayout, RowObservation

State = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
"""frame, rng, ball x, y, vx, vy, paddle centres of players 0 and 1, their scores, rally, frames until the serve."""

WIDTH, HEIGHT = 1024, 768
PADDLE_FACE = 48
"""Distance of a paddle's front from the wall behind it."""
SPIN = 2
"""What a moving paddle adds to the ball's vertical speed."""
WOBBLE = 2
"""A hit adds a random ``-WOBBLE..WOBBLE`` too, or two good players could send the ball to and fro for ever."""

STAY, UP, DOWN = 0, 1, 2

PARAMETERS = (
    Parameter("points", 5, "points that win the episode", low=1, high=99),
    Parameter("max_frames", None, "frames after which both agents are truncated", low=1, optional=True),
    Parameter("paddle_height", 128, "units", low=32, high=512),
    Parameter("paddle_speed", 10, "units per frame", low=1, high=64),
    Parameter("ball_size", 24, "units", low=4, high=64),
    Parameter("ball_speed", 11, "horizontal units per frame at the serve", low=1, high=48),
    Parameter("max_ball_speed", 26, "horizontal units per frame a rally can reach", low=1, high=48),
    Parameter("serve_delay", 40, "frames the ball rests before a serve", low=1, high=600),
)

FIELDS = (
    *("frame", "rng", "ball_x", "ball_y", "ball_vx", "ball_vy"),
    *("paddle0", "paddle1", "score0", "score1", "rally", "serve_in"),
)
_pack = struct.Struct("<2I10i").pack
_xxh3 = xxhash.xxh3_64_intdigest
_LONGEST = 200_000
# Frames, 55 minutes: two players who miss nothing would go on for ever.
_DIRECTION = {b"\x00": 0, b"\x01": -1, b"\x02": 1}

_QUIET = Outcome((0.0, 0.0), (False, False), (False, False), (NO_INFO, NO_INFO), False)
_HIT = tuple(
    _QUIET._replace(infos=tuple(FrozenInfo(hit=1) if agent == hitter else NO_INFO for agent in (0, 1)))
    for hitter in (0, 1)
)
_POINT_REWARDS = ((1.0, -1.0), (-1.0, 1.0))


def _observation_space(p: Mapping[str, Any]) -> spaces.Dict:
    half, radius = p["paddle_height"] // 2, p["ball_size"] // 2
    fastest = p["max_ball_speed"] + SPIN + WOBBLE
    beyond = radius + p["max_ball_speed"]
    paddle = spaces.Box(half, HEIGHT - half, (1,), np.int32)
    return spaces.Dict(
        {
            "ball_position": spaces.Box(
                np.array([-beyond, 0], np.int32), np.array([WIDTH + beyond, HEIGHT], np.int32), (2,), np.int32
            ),
            "ball_velocity": spaces.Box(-fastest, fastest, (2,), np.int32),
            "other_paddle": paddle,
            "paddle": paddle,
            "rally": spaces.Box(0, np.iinfo(np.int32).max, (1,), np.int32),
            "scores": spaces.Box(0, p["points"], (2,), np.int32),
            "serve_in": spaces.Box(0, p["serve_delay"], (1,), np.int32),
        }
    )


class Pong(Game):
    """Its whole state is one immutable tuple, so saving and loading pass a reference."""

    def __init__(self, **parameters: Any) -> None:
        """Parameters: see :data:`PARAMETERS`. Raises :class:`~rollgym.games.errors.GameError`."""
        p = resolve("pong", PARAMETERS, parameters)
        if p["ball_speed"] > p["max_ball_speed"]:
            raise GameError("pong.ball_speed", p["ball_speed"], f"at most max_ball_speed ({p['max_ball_speed']})")
        self.spec = GameSpec(
            id="pong",
            version="1",
            agents=("left", "right"),
            action_spaces=(spaces.Discrete(3), spaces.Discrete(3)),
            observation_spaces=(_observation_space(p), _observation_space(p)),
            default_actions=(STAY, STAY),
            action_names=("stay", "up", "down"),
            fps=60,
            parameters=p,
            max_frames=p["max_frames"] or _LONGEST,
        )
        self._observed = RowLayout(_observation_space(p))
        self._points: int = p["points"]
        self._last_frame: int = p["max_frames"] or _LONGEST
        self._half: int = p["paddle_height"] // 2
        self._radius: int = p["ball_size"] // 2
        self._ball_speed: int = p["ball_speed"]
        self._max_ball_speed: int = p["max_ball_speed"]
        self._serve_delay: int = p["serve_delay"]
        step = p["paddle_speed"]
        self._moves = {b: d * step for b, d in _DIRECTION.items()}
        self._state: State
        self.reset(0)

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        middle = HEIGHT // 2
        self._state = (0, start_rng(seed), WIDTH // 2, middle, 0, 0, middle, middle, 0, 0, 0, self._serve_delay)
        return ({}, {})

    def step(self, inputs: JointInput) -> Outcome:
        frame, rng, x, y, vx, vy, paddle0, paddle1, score0, score1, rally, serve_in = self._state
        frame += 1
        move0 = self._moves[inputs[0]]
        move1 = self._moves[inputs[1]]
        half = self._half
        if move0:
            paddle0 += move0
            if paddle0 < half:
                paddle0 = half
            elif paddle0 > HEIGHT - half:
                paddle0 = HEIGHT - half
        if move1:
            paddle1 += move1
            if paddle1 < half:
                paddle1 = half
            elif paddle1 > HEIGHT - half:
                paddle1 = HEIGHT - half

        outcome = _QUIET
        if serve_in:
            serve_in -= 1
            if not serve_in:
                rng, vx, vy = self._serve(rng)
        else:
            radius = self._radius
            before = x
            x += vx
            y += vy
            if y < radius:
                y = 2 * radius - y
                vy = -vy
            elif y > HEIGHT - radius:
                y = 2 * (HEIGHT - radius) - y
                vy = -vy
            near = PADDLE_FACE + radius
            # Only the crossing of a paddle's front counts: a ball that got past it cannot be hit from behind.
            if x <= near:
                if before > near and -half - radius <= y - paddle0 <= half + radius:
                    rally += 1
                    vx = min(self._ball_speed + rally, self._max_ball_speed)
                    rng = xorshift32(rng)
                    vy = self._deflect(y - paddle0, vx, move0) + (rng >> 8) % (2 * WOBBLE + 1) - WOBBLE
                    x = 2 * near - x
                    outcome = _HIT[0]
                elif x < -radius:
                    score1 += 1
                    outcome = self._point(1, rally, score1)
            elif x >= WIDTH - near:
                if before < WIDTH - near and -half - radius <= y - paddle1 <= half + radius:
                    rally += 1
                    vx = -min(self._ball_speed + rally, self._max_ball_speed)
                    rng = xorshift32(rng)
                    vy = self._deflect(y - paddle1, -vx, move1) + (rng >> 8) % (2 * WOBBLE + 1) - WOBBLE
                    x = 2 * (WIDTH - near) - x
                    outcome = _HIT[1]
                elif x > WIDTH + radius:
                    score0 += 1
                    outcome = self._point(0, rally, score0)
            if outcome.rewards[0]:
                # After the last point there is no serve: the ball lies still for good.
                serve_in = 0 if outcome.terminal else self._serve_delay
                x, y, vx, vy, rally = WIDTH // 2, HEIGHT // 2, 0, 0, 0

        self._state = (frame, rng, x, y, vx, vy, paddle0, paddle1, score0, score1, rally, serve_in)
        if frame >= self._last_frame and not outcome.terminal:
            return outcome._replace(truncated=(True, True), terminal=True)
        return outcome

    def _serve(self, rng: int) -> tuple[int, int, int]:
        """The next ``rng`` and the speed of the served ball."""
        rng = xorshift32(rng)
        speed = self._ball_speed
        steepest = speed * 3 // 4
        return rng, speed if rng & 64 else -speed, (rng >> 8) % (2 * steepest + 1) - steepest

    def _deflect(self, offset: int, speed: int, move: int) -> int:
        """The vertical speed after a hit ``offset`` units below the paddle's centre: 45 degrees at its ends."""
        reach = self._half + self._radius
        vy = offset * speed // reach if offset >= 0 else -(-offset * speed // reach)
        if move:
            vy += SPIN if move > 0 else -SPIN
        return vy

    def _point(self, scorer: int, rally: int, score: int) -> Outcome:
        over = score >= self._points
        infos = (FrozenInfo(point=scorer, rally=rally), FrozenInfo(point=scorer, rally=rally))
        return Outcome(_POINT_REWARDS[scorer], (over, over), (False, False), infos, over)

    def save(self) -> State:
        return self._state

    def load(self, snapshot: State) -> None:
        self._state = snapshot

    def state_bytes(self, snapshot: State) -> bytes:
        """The 12 values as 32-bit little-endian integers."""
        return _pack(*snapshot)

    def digest(self, snapshot: State) -> int:
        return _xxh3(_pack(*snapshot))

    def state_fields(self, snapshot: State) -> Mapping[str, Any]:
        return dict(zip(FIELDS, snapshot, strict=True))

    def observe(self) -> tuple[RowObservation, RowObservation]:
        """Both players see the court from the left: for player 1 it is mirrored."""
        _, _, x, y, vx, vy, paddle0, paddle1, score0, score1, rally, serve_in = self._state
        # The keys of the space in sorted order: ball position and velocity, the other's paddle, the own one, rally,
        # scores, serve_in.
        return (
            self._observed.observation((x, y, vx, vy, paddle1, paddle0, rally, score0, score1, serve_in)),
            self._observed.observation((WIDTH - x, y, -vx, vy, paddle0, paddle1, rally, score1, score0, serve_in)),
        )

    def render(self, scale: int = 2) -> NDArray[np.uint8]:
        """The court as a ``(192 * scale, 256 * scale, 3)`` picture."""
        return pong_view.draw(self._view(), scale)

    def render_text(self, columns: int = 60, rows: int = 20) -> str:
        """The court as ``rows`` lines of ``columns`` characters."""
        return pong_view.text(self._view(), columns, rows)

    def _view(self) -> pong_view.View:
        _, _, x, y, vx, vy, paddle0, paddle1, score0, score1, rally, serve_in = self._state
        return pong_view.View(
            court=(WIDTH, HEIGHT),
            ball=(x, y),
            velocity=(vx, vy),
            radius=self._radius,
            paddles=(paddle0, paddle1),
            half=self._half,
            face=PADDLE_FACE,
            scores=(score0, score1),
            rally=rally,
            serving=serve_in > 0,
            names=(self.spec.agents[0], self.spec.agents[1]),
        )
