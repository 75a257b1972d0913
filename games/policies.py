"""Bots: who decides the input of one player from what it sees.

A policy's randomness is counter-based: what it draws at a frame is a pure function of (its seed, the episode's
seed, its player, the frame). Nothing has to be remembered, so a bot that skips or repeats a frame stays the same.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import xxhash
from gymnasium import spaces

from games import pong
from games.codec import CodecError
from games.contract import GameSpec, Observation
from games.errors import GameError
from games.spaces import children


class Policy(Protocol):
    """Decides for one player. ``reset`` comes before the first ``act`` of every episode."""

    def reset(self, seed: int) -> None:
        """A new episode with this seed begins."""

    def act(self, observation: Observation, frame: int) -> Any:
        """The player's action at ``frame``: a member of its action space."""


class PolicyInfo(NamedTuple):
    """One line of the list of policies."""

    name: str
    summary: str
    parameters: tuple[str, ...]


class _Seat(NamedTuple):
    """Whom a policy plays for."""

    spec: GameSpec
    player: int
    seed: int


class Draws:
    """Random 64-bit integers of one (seed, episode seed, player, moment)."""

    __slots__ = ("_index", "_key")

    def __init__(self, seat_seed: int, episode_seed: int, player: int, moment: int) -> None:
        self._key = struct.pack("<4q", seat_seed, episode_seed, player, moment)
        self._index = 0

    def below(self, n: int) -> int:
        """``0..n-1``. The bias is below ``n / 2**64``."""
        self._index += 1
        return xxhash.xxh3_64_intdigest(self._key, self._index) % n

    def unit(self) -> float:
        """``0 <= u < 1`` with 53 random bits."""
        return self.below(1 << 53) / (1 << 53)


def sampler(space: spaces.Space[Any]) -> Callable[[Draws], Any]:
    """A function that draws a member of an action space. Raises :class:`~games.errors.GameError` if it can not.

    An unbounded side of a Box counts as one from the other side, or as -1 and 1.
    """
    if isinstance(space, spaces.Discrete):
        n, start = int(space.n), int(space.start)
        return lambda draws: start + draws.below(n)
    if isinstance(space, spaces.MultiBinary):
        return lambda draws: _array(space, lambda _: draws.below(2))
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = space.nvec.ravel().tolist(), space.start.ravel().tolist()
        return lambda draws: _array(space, lambda i: starts[i] + draws.below(counts[i]))
    if isinstance(space, spaces.Box):
        lows, highs = _finite_bounds(space)
        if np.dtype(space.dtype).kind == "f":
            return lambda draws: _array(space, lambda i: lows[i] + draws.unit() * (highs[i] - lows[i]))
        return lambda draws: _array(space, lambda i: lows[i] + draws.below(highs[i] - lows[i] + 1))
    if isinstance(space, spaces.Dict):
        named = {key: sampler(part) for key, part in children(space)}
        return lambda draws: {key: draw(draws) for key, draw in named.items()}
    if isinstance(space, spaces.Tuple):
        parts = [sampler(part) for part in space.spaces]
        return lambda draws: tuple(draw(draws) for draw in parts)
    raise GameError("action space", space, "a space that a random policy can draw from")


def _array(space: spaces.Space[Any], value: Callable[[int], Any]) -> Any:
    shape = space.shape or ()
    flat = [value(i) for i in range(int(np.prod(shape, dtype=np.int64)))]
    array = np.array(flat, dtype=space.dtype).reshape(shape)
    # A float32 rounded up may lie just above the bound.
    return np.asarray(np.clip(array, space.low, space.high)) if isinstance(space, spaces.Box) else array


def _finite_bounds(space: spaces.Box) -> tuple[list[Any], list[Any]]:
    lows, highs = space.low.ravel().tolist(), space.high.ravel().tolist()
    for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if np.isinf(low):
            lows[i] = -1.0 if np.isinf(high) else high - 1.0
        if np.isinf(high):
            highs[i] = max(1.0, lows[i] + 1.0) if np.isinf(low) else low + 1.0
    return lows, highs


class RandomPolicy:
    """Draws a new action every ``hold`` frames."""

    def __init__(self, seat: _Seat, hold: int = 1) -> None:
        self._seat = seat
        self._hold = _integer("random_hold.hold", hold, 1)
        self._sample = sampler(seat.spec.action_spaces[seat.player])
        self._episode_seed = 0

    def reset(self, seed: int) -> None:
        self._episode_seed = seed

    def act(self, observation: Observation, frame: int) -> Any:
        return self._sample(Draws(self._seat.seed, self._episode_seed, self._seat.player, frame // self._hold))


class IdlePolicy:
    """Always does what the game says that a player who does nothing does."""

    def __init__(self, seat: _Seat) -> None:
        self._action = seat.spec.default_actions[seat.player]

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        return self._action


class ScriptedPolicy:
    """Plays a list of actions, one per frame, then idles or, with ``repeat``, starts again."""

    def __init__(
        self, seat: _Seat, actions: Sequence[Any] | None = None, path: str | None = None, repeat: bool = False
    ) -> None:
        if (actions is None) == (path is None):
            raise GameError("scripted", {"actions": actions, "path": path}, "either actions or path")
        if not isinstance(repeat, bool):
            raise GameError("scripted.repeat", repeat, "true or false")
        given = _read_script(path) if path is not None else actions
        if not isinstance(given, list | tuple) or not given:
            raise GameError("scripted.actions", given, "a list of at least one action")
        space, codec = seat.spec.action_spaces[seat.player], seat.spec.codecs[seat.player]
        self._actions = []
        for index, value in enumerate(given):
            try:
                action = from_json(space, value)
                codec.encode(action)
            except (CodecError, ValueError, TypeError, KeyError, OverflowError) as error:
                raise GameError(f"scripted.actions[{index}]", value, f"a member of {space} ({error})") from error
            self._actions.append(action)
        self._idle = seat.spec.default_actions[seat.player]
        self._repeat = repeat

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        if self._repeat:
            return self._actions[frame % len(self._actions)]
        return self._actions[frame] if 0 <= frame < len(self._actions) else self._idle


def _read_script(path: Any) -> Any:
    if not isinstance(path, str | Path):
        raise GameError("scripted.path", path, "the path of a JSON file")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise GameError("scripted.path", str(path), f"a readable file ({error.strerror})") from error
    except ValueError as error:
        raise GameError("scripted.path", str(path), f"a JSON list of actions ({error})") from error


def from_json(space: spaces.Space[Any], value: Any) -> Any:
    """A member of an action space from JSON values: lists become arrays, or tuples where the space is a Tuple."""
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        if value.keys() != space.spaces.keys():
            raise ValueError(f"keys {sorted(value)}: expected {sorted(space.spaces)}")
        return {key: from_json(part, value[key]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple) and isinstance(value, list | tuple):
        return tuple(from_json(part, item) for part, item in zip(space.spaces, value, strict=True))
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        array = np.asarray(value)
        converted = array.astype(space.dtype)
        if np.dtype(space.dtype).kind in "iu" and not np.array_equal(array, converted):
            raise ValueError(f"{value}: expected integers")
        return converted
    return value


class TrackerPolicy:
    """Plays Pong from its observation: foresees where the ball will arrive and goes there, a little off.

    ``error`` is how far off it may be, in percent of the reach of a paddle. Above 100 it sometimes misses.
    """

    def __init__(self, seat: _Seat, error: int = 120) -> None:
        if seat.spec.id != "pong":
            raise GameError("policy", "tracker", f"a policy for {seat.spec.id}; tracker plays pong only")
        self._seat = seat
        p = seat.spec.parameters
        self._radius = int(p["ball_size"]) // 2
        self._reach = int(p["paddle_height"]) // 2 + self._radius
        self._off = self._reach * _integer("tracker.error", error, 0, 1000) // 100
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
        draws = Draws(self._seat.seed, self._episode_seed, self._seat.player, approach)
        return draws.below(2 * self._off + 1) - self._off


def _integer(field: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise GameError(field, value, f"an integer {low}..{high}")
    return int(value)


def _random(seat: _Seat) -> Policy:
    return RandomPolicy(seat)


def _random_hold(seat: _Seat, hold: int = 4) -> Policy:
    return RandomPolicy(seat, hold)


_POLICIES: dict[str, tuple[Callable[..., Policy], PolicyInfo]] = {
    info.name: (factory, info)
    for factory, info in (
        (_random, PolicyInfo("random", "a new random action every frame", ())),
        (_random_hold, PolicyInfo("random_hold", "a new random action every `hold` frames (4)", ("hold",))),
        (IdlePolicy, PolicyInfo("idle", "the game's default action", ())),
        (
            ScriptedPolicy,
            PolicyInfo("scripted", "`actions`, or a JSON list of them at `path`", ("actions", "path", "repeat")),
        ),
        (TrackerPolicy, PolicyInfo("tracker", "plays Pong sensibly, `error` percent (120) off", ("error",))),
    )
}


def available_policies() -> list[PolicyInfo]:
    """All policies that can be made by name."""
    return [info for _, info in _POLICIES.values()]


def make_policy(name: str, game_spec: GameSpec, agent_index: int, seed: int, **params: Any) -> Policy:
    """A policy for one player of a game.

    ``0 <= seed < 2**63``. Raises :class:`~games.errors.GameError` for a name that does not exist, a game it can not
    play, and an unknown or ill-typed parameter.
    """
    factory, info = _found(name)
    for given, value in params.items():
        if given not in info.parameters:
            known = "a parameter named " + ", ".join(info.parameters) if info.parameters else "no parameters"
            raise GameError(f"{name}.{given}", value, known)
    if not 0 <= agent_index < game_spec.players:
        raise GameError("agent_index", agent_index, f"0..{game_spec.players - 1}")
    return factory(_Seat(game_spec, agent_index, _integer("policy seed", seed, 0, 2**63 - 1)), **params)


def _found(name: Any) -> tuple[Callable[..., Policy], PolicyInfo]:
    found = _POLICIES.get(name) if isinstance(name, str) else None
    if found is None:
        raise GameError("policy", name, "one of " + ", ".join(_POLICIES))
    return found
