"""The smallest game in which nothing that goes wrong can heal: its state is a running hash of all joint inputs.

One wrong input, one step too many or one forgotten piece of state shows in every later state. An optional rule ends
the episode on inputs alone, so that a mispredicted input can end it and a rollback can take that end away.

The game comes bare, as a simulation for the rollback core (:class:`Bare`), and under the game contract (:class:`Toy`);
both rest on the pure functions below, which are also what the tests' own bookkeeping replays.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xxhash
from gymnasium import spaces

from rollgym.games.contract import Game, GameSpec, JointInput, Outcome

VALUES = 4
"""Inputs are one byte, 0 to 3; 0 is the default. So few that a guess is often right and often wrong."""

NEVER = 1 << 40
"""For an ``ends_from`` or ``breaks_at`` that no test reaches."""


class State(NamedTuple):
    """``S_frame``. ``hash`` sums up every joint input of the frames below."""

    frame: int
    hash: int


def first_state(seed: int) -> State:
    """``S_0``."""
    return State(0, xxhash.xxh3_64_intdigest(b"toy", seed))


def following(state: State, inputs: JointInput) -> State:
    """The state after a frame with these inputs."""
    return State(state.frame + 1, xxhash.xxh3_64_intdigest(b"".join(inputs), state.hash))


def ends(state: State, inputs: JointInput, ends_from: int) -> bool:
    """Whether the frame with these inputs is the last one: from ``ends_from`` on, if all players send a 3."""
    return state.frame >= ends_from and all(value == b"\x03" for value in inputs)


def state_bytes(state: State) -> bytes:
    return struct.pack("<QQ", state.frame, state.hash)


def state_digest(state: State) -> int:
    return xxhash.xxh3_64_intdigest(state_bytes(state))


class BareOutcome(NamedTuple):
    """What a step of the bare simulation gives: the state it led to, too."""

    terminal: bool
    state: State


class Bare:
    """The game as a simulation of the rollback core. ``steps`` and ``loads`` count calls."""

    def __init__(self, seed: int = 0, *, ends_from: int = NEVER, breaks_at: int = NEVER, secret: int = 0) -> None:
        self.state = first_state(seed)
        self.ends_from = ends_from
        self.breaks_at = breaks_at
        self.secret = secret
        self.steps = 0
        self.loads = 0

    def step(self, inputs: JointInput) -> BareOutcome:
        self.steps += 1
        over = ends(self.state, inputs, self.ends_from)
        self.state = broken(following(self.state, inputs), self.breaks_at, self.secret)
        return BareOutcome(over, self.state)

    def save(self) -> State:
        return self.state

    def load(self, snapshot: State) -> None:
        self.loads += 1
        self.state = snapshot

    def digest(self, snapshot: State) -> int:
        return state_digest(snapshot)

    def state_fields(self, snapshot: State) -> Mapping[str, Any]:
        return snapshot._asdict()


def broken(state: State, breaks_at: int, secret: int) -> State:
    """Determinism broken on purpose: into ``S_breaks_at`` goes a number that is no part of any state."""
    return State(state.frame, state.hash ^ secret) if state.frame == breaks_at else state


def rewards(state: State, players: int) -> tuple[float, ...]:
    """Rewards of the frame that led to ``state``."""
    return tuple(float((state.hash >> (8 * player)) & 0xFF) / 8 for player in range(players))


def infos(state: State, players: int) -> tuple[Mapping[str, Any], ...]:
    """Infos of the frame that led to ``state``: a key that is there in some frames only, for one agent."""
    found = {"lucky": state.hash & 0xFFFF} if state.hash % 7 == 0 else {}
    return tuple(found if player == state.hash % players else {} for player in range(players))


def observation(state: State, player: int) -> np.ndarray:
    """What a player sees: all of the state, and who it is."""
    return np.frombuffer(state_bytes(state) + bytes((player,)), dtype=np.uint8)


class Toy(Game):
    """The game under the game contract, for ``players`` players."""

    def __init__(
        self, players: int = 2, *, ends_from: int | None = None, breaks_at: int | None = None, secret: int = 0
    ) -> None:
        self.ends_from = NEVER if ends_from is None else ends_from
        self.breaks_at = NEVER if breaks_at is None else breaks_at
        self.secret = secret
        self.state = first_state(0)
        sees: spaces.Space[Any] = spaces.Box(0, 255, (17,), np.uint8)
        self.spec = GameSpec(
            id="toy",
            version="1",
            agents=tuple(f"agent_{player}" for player in range(players)),
            action_spaces=(spaces.Discrete(VALUES),) * players,
            observation_spaces=(sees,) * players,
            default_actions=(0,) * players,
            fps=60,
            parameters={"players": players, "ends_from": ends_from},
        )

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self.state = first_state(seed)
        return tuple({"player": player} for player in range(self.spec.players))

    def step(self, inputs: JointInput) -> Outcome:
        over = ends(self.state, inputs, self.ends_from)
        self.state = broken(following(self.state, inputs), self.breaks_at, self.secret)
        players = self.spec.players
        return Outcome(
            rewards(self.state, players), (over,) * players, (False,) * players, infos(self.state, players), over
        )

    def save(self) -> State:
        return self.state

    def load(self, snapshot: State) -> None:
        self.state = snapshot

    def state_bytes(self, snapshot: State) -> bytes:
        return state_bytes(snapshot)

    def state_fields(self, snapshot: State) -> Mapping[str, Any]:
        return snapshot._asdict()

    def observe(self) -> tuple[np.ndarray, ...]:
        return tuple(observation(self.state, player) for player in range(self.spec.players))


class ToyPolicy:
    """Sends ``hash(seed, episode, player, frame // hold)``, and keeps its own log per episode.

    ``log``: frame at which it decided -> what. ``seen``: that frame -> the bytes of what it saw.
    """

    def __init__(self, player: int, seed: int, hold: int = 1, most: int = VALUES) -> None:
        self.player = player
        self.seed = seed
        self.hold = hold
        self.most = most
        self.log: list[dict[int, int]] = []
        self.seen: list[dict[int, bytes]] = []
        self._episode = 0

    def reset(self, seed: int) -> None:
        self._episode = seed
        self.log.append({})
        self.seen.append({})

    def act(self, observation: Any, frame: int) -> int:
        key = struct.pack("<4q", self.seed, self._episode, self.player, frame // self.hold)
        value = xxhash.xxh3_64_intdigest(key) % self.most
        assert frame not in self.log[-1], f"asked twice at frame {frame}"
        self.log[-1][frame] = value
        self.seen[-1][frame] = np.asarray(observation).tobytes()
        return value
