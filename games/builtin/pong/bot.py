"""A bot that plays Pong."""

from __future__ import annotations

from rollgym.games.builtin.pong import rules as pong
from rollgym.games.contract import Observation
from rollgym.games.counter_rng import Draws
from rollgym.games.errors import GameError
from rollgym.games.parameters import checked_integer
from rollgym.games.policy import PolicySeat


class TrackerPolicy:
    """Plays Pong from its observation: foresees where the ball will arrive and goes there, a little off.

    ``error`` is how far off it may be, in percent of the reach of a paddle. Above 100 it sometimes misses.
    """

    def __init__(self, seat: PolicySeat, error: int = 120) -> None:
        if seat.spec.id != "pong":
            raise GameError("policy", "tracker", f"a policy for {seat.spec.id}; tracker plays pong only")
        self._seat = seat
        p = seat.spec.parameters
        self._radius = int(p["ball_size"]) // 2
        self._reach = int(p["paddle_height"]) // 2 + self._radius
        self._off = self._reach * checked_integer("tracker.error", error, 0, 1000) // 100
        self._near = pong.PADDLE_FACE + self._radius
        self._calm = max(p["paddle_speed"], 6)
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> int:
        vx = int(observation["ball_velocity"][0])
        target = self._arrival(observation) + self._aim(observation) if vx < 0 else pong.HEIGHT // 2
        gap = target - int(observation["paddle"][0])
        if abs(gap) <= self._calm:
            return pong.STAY
        return pong.DOWN if gap > 0 else pong.UP

    def _arrival(self, observation: Observation) -> int:
        """Where the ball will cross the paddle's line, bounces off the walls included."""
        x, y = (int(v) for v in observation["ball_position"])
        vx, vy = (int(v) for v in observation["ball_velocity"])
        frames = max(0, (x - self._near) // -vx)
        span = pong.HEIGHT - 2 * self._radius
        along = (y - self._radius + vy * frames) % (2 * span)
        return self._radius + (along if along <= span else 2 * span - along)

    def _aim(self, observation: Observation) -> int:
        """How far off the middle of the paddle it means to hit: one choice per approach of the ball."""
        mine, theirs = (int(v) for v in observation["scores"])
        approach = (mine * 1000 + theirs) * 1_000_000 + int(observation["rally"][0])
        draws = Draws(self._seat.seed, self._episode_seed, self._seat.agent, approach)
        return draws.below(2 * self._off + 1) - self._off
