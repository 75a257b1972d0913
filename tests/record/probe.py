"""A game that forgets nothing, and players who never rest: any wrong input or observation shows at once.

Every input goes into the state by a mixing function, so two runs that differ in one input differ in every later
frame's observation. Inputs depend on what the player saw and change on every frame, so every prediction is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xxhash
from gymnasium import spaces

from rollgym.games.contract import Game, GameSpec, JointInput, Observation, Outcome

ACTIONS = 16
SPARK_EVERY = 29
"""About one frame in this many has an info."""


class Step(NamedTuple):
    """One call of ``step``: when, in which episode (by seed), which frame, with which inputs."""

    time: float
    seed: int
    frame: int
    inputs: JointInput


class Load(NamedTuple):
    """One call of ``load``: when, in which episode, which frame, and how many steps had been made by then."""

    time: float
    seed: int
    frame: int
    steps: int


class GameLog:
    """What one peer's game was asked to do. Outside of the state: rollbacks do not undo it."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.steps: list[Step] = []
        self.loads: list[Load] = []
        self.ends: list[int] = []
        """Places in ``steps`` of those that ended the episode, guessed or not."""

    def of(self, seed: int) -> list[Step]:
        """The steps of one episode, in order of time."""
        return [step for step in self.steps if step.seed == seed]


class _State(NamedTuple):
    frame: int
    mix: int
    last: tuple[int, int]
    repeats: tuple[int, int]
    memory: int = 0
    """What the robot remembers of all it did: as a recurrent policy does, it acts on it."""


class Probe(Game):
    """Two players. ``repeats``: a player who plays the same action so many frames in a row ends the episode.

    ``width``: bytes of an action. ``skew``: a frame from which on the state goes wrong (a game that is not
    deterministic across peers). ``dull``: only the upper half of the actions does anything, so that many a wrong guess
    makes no difference. ``robot``: a third agent sits between the players and is driven by the simulation.
    """

    def __init__(
        self,
        *,
        repeats: int = 1 << 30,
        width: int = 1,
        skew: int = 1 << 30,
        dull: bool = False,
        robot: bool = False,
        log: GameLog | None = None,
        agents: tuple[str, str] = ("0", "1"),
    ) -> None:
        self.log = log or GameLog()
        self.repeats = repeats
        self.skew = skew
        self.dull = dull
        self.robot = robot
        action: spaces.Space[Any] = (
            spaces.Discrete(ACTIONS) if width == 1 else spaces.MultiDiscrete(np.full(width, ACTIONS))
        )
        view = spaces.Dict(
            {"mix": spaces.Box(0, 255, (4,), np.uint8), "repeats": spaces.Discrete(1 << 31), "side": spaces.Discrete(2)}
        )
        nothing = 0 if width == 1 else np.zeros(width, np.int64)
        count = 3 if robot else 2
        self.spec = GameSpec(
            id="probe",
            version="1",
            agents=(agents[0], "robot", agents[1]) if robot else agents,
            action_spaces=(action,) * count,
            observation_spaces=(view,) * count,
            default_actions=(nothing,) * count,
            fps=60,
            parameters={"repeats": repeats, "width": width},
            seats=(0, 2) if robot else (),
        )
        self._seed = 0
        self._state = _State(0, 0, (-1, -1), (0, 0))

    def reset(self, seed: int) -> tuple[Mapping[str, Any], ...]:
        self._seed = seed
        self._state = _State(0, xxhash.xxh3_64_intdigest(struct.pack("<q", seed)), (-1, -1), (0, 0))
        return ({"began": seed}, *[{} for _ in self.spec.agents[1:]])

    def step(self, inputs: JointInput) -> Outcome:
        state = self._state
        self.log.steps.append(Step(self.log.clock(), self._seed, state.frame, inputs))
        felt = [bytes([value[0] >> 3]) for value in inputs] if self.dull else inputs
        robot = self._robot_acts(state) if self.robot else b""
        mix = xxhash.xxh3_64_intdigest(b"".join(felt) + robot, state.mix)
        if state.frame >= self.skew:
            mix ^= 1
        last = (inputs[0][0], inputs[1][0])
        repeats = (
            state.repeats[0] + 1 if last[0] == state.last[0] else 0,
            state.repeats[1] + 1 if last[1] == state.last[1] else 0,
        )
        memory = state.memory * 31 + robot[0] & 0xFFFF if robot else 0
        self._state = _State(state.frame + 1, mix, last, repeats, memory)
        over = max(repeats) + 1 >= self.repeats
        if over:
            self.log.ends.append(len(self.log.steps) - 1)
        count = len(self.spec.agents)
        infos: list[dict[str, Any]] = [{} for _ in range(count)]
        if mix % SPARK_EVERY == 0:
            # An int, a float that is whole, and an array: none may turn into another.
            infos[(mix >> 8) % count] = {"spark": 1, "heat": 1.0, "where": np.array([state.frame % 1000, 2], np.int16)}
        rewards = (float(mix & 7), (mix >> 3 & 7) / 4, float(memory))[:count]
        acted = (robot,) if robot else ()
        return Outcome(rewards, (over,) * count, (False,) * count, tuple(infos), over, acted)

    def _robot_acts(self, state: _State) -> bytes:
        """By chance (a pure function of seed and frame), by what it remembers and by the state."""
        draw = xxhash.xxh3_64_intdigest(struct.pack("<qqq", self._seed, state.frame, state.memory), state.mix)
        return bytes([draw % ACTIONS])

    def save(self) -> _State:
        return self._state

    def load(self, snapshot: _State) -> None:
        self.log.loads.append(Load(self.log.clock(), self._seed, snapshot.frame, len(self.log.steps)))
        self._state = snapshot

    def state_bytes(self, snapshot: _State) -> bytes:
        return struct.pack("<2Q5q", snapshot.frame, snapshot.mix, *snapshot.last, *snapshot.repeats, snapshot.memory)

    def observe(self) -> tuple[Observation, ...]:
        return self.observe_at(self._state)

    def observe_at(self, snapshot: _State) -> tuple[Observation, ...]:
        # Without `load`, so that the log holds rollbacks only.
        mix = np.array(list(struct.pack("<I", snapshot.mix & 0xFFFFFFFF)), np.uint8)
        count = len(self.spec.agents)
        return tuple({"mix": mix.copy(), "repeats": snapshot.repeats[a % 2], "side": a % 2} for a in range(count))


class Acted(NamedTuple):
    """One decision: the episode (by seed), the frame, what was seen and what was done."""

    seed: int
    frame: int
    saw: dict[str, Any]
    action: int


class Restless:
    """Decides from what it sees, and never the same twice in a row. Its decisions are logged."""

    def __init__(self, player: int, width: int = 1) -> None:
        self.player = player
        self.width = width
        self.log: list[Acted] = []
        self._seed = 0

    def reset(self, seed: int) -> None:
        self._seed = seed

    def act(self, observation: Observation, frame: int) -> Any:
        saw = dict(observation)
        draw = xxhash.xxh3_64_intdigest(bytes(saw["mix"]) + struct.pack("<qq", self.player, frame))
        action = self.choose(draw, frame)
        self.log.append(Acted(self._seed, frame, saw, action))
        return action if self.width == 1 else np.full(self.width, action, np.int64)

    def choose(self, draw: int, frame: int) -> int:
        # Odd and even frames draw from different halves of the actions; never 0, which is what idle players do.
        return 1 + draw % 7 if frame % 2 else 8 + draw % 8

    def of(self, seed: int) -> list[Acted]:
        """The decisions of one episode."""
        return [acted for acted in self.log if acted.seed == seed]


class Holder(Restless):
    """Holds each action for ``hold`` frames."""

    def __init__(self, player: int, hold: int, width: int = 1) -> None:
        super().__init__(player, width)
        self.hold = hold

    def choose(self, draw: int, frame: int) -> int:
        block = xxhash.xxh3_64_intdigest(struct.pack("<qqq", self.player, self._seed, frame // self.hold))
        return super().choose(block, frame // self.hold)


class Tired(Restless):
    """From frame ``until`` on always the same action, which ends an episode of a probe with ``repeats``."""

    def __init__(self, player: int, until: int) -> None:
        super().__init__(player)
        self.until = until

    def choose(self, draw: int, frame: int) -> int:
        return 3 if frame >= self.until else super().choose(draw, frame)


class Loose(Restless):
    """Any action on any frame."""

    def choose(self, draw: int, frame: int) -> int:
        return 1 + draw % 15
