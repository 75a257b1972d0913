"""Environments that are sound though they do not look like it, and such that cannot be played at all."""

from __future__ import annotations

import asyncio
import collections
import io
import itertools
import os
import sys
import threading
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation

from tests.adapters.broken import Sound, Values


class SamplesASpace(Sound):
    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.players: Any = self.action_space

    def luck(self, action: Values) -> float:
        return 0.01 * float(self.players["left"].sample())


class ReadOnly(Sound):
    """Locks what it hands out."""

    def luck(self, action: Values) -> float:
        self.place = self.place.copy()
        self.place.flags.writeable = False
        self.place = self.place + 0.01
        self.kept = self.place
        self.kept.flags.writeable = False
        self.place = self.place.copy()
        return 0.0


class Small(Sound):
    """Keeps what it knows in small things of the standard library."""

    def __init__(self, length: int = 40) -> None:
        super().__init__(length)
        self.count, self.done, self.text = itertools.count(), threading.Event(), io.StringIO()
        made: list[int] = []

        def one_more() -> int:
            made.append(1)
            return len(made)

        self.scores: Any = collections.defaultdict(one_more)
        hear: Any = lambda: None  # noqa: E731 - a function that carries something
        self.hear = hear
        self.hear.heard = 0

    def luck(self, action: Values) -> float:
        if action["left"] == 2:
            self.done.set()
        self.text.write(str(action["right"]))
        self.hear.heard += action["right"]
        found = next(self.count) + self.done.is_set() + len(self.text.getvalue()) + self.hear.heard
        return float(1e-3 * (found + self.scores[self.t % 7]))


def stacked() -> Any:
    return FrameStackObservation(Sound(), 2)


class OneFrame(Sound):
    def __init__(self) -> None:
        super().__init__(length=1)


class Endless(Sound):
    def __init__(self) -> None:
        super().__init__(length=10**9)


class Wide(Sound):
    """Actions that no packet holds."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Dict({agent: spaces.Box(-1, 1, (3000,), np.float64) for agent in self.agents})

    def step(self, action: Values) -> tuple[Values, float, bool, bool, Values]:
        return super().step({agent: int(move[0] > 0) for agent, move in action.items()})


class Pictures(Sound):
    """Records that no server takes with its usual limits, unless episodes are short."""

    def __init__(self) -> None:
        super().__init__()
        picture = spaces.Box(0, 255, (210, 160, 3), np.uint8)
        self.observation_space = spaces.Dict(dict.fromkeys(self.agents, picture))

    def _seen(self) -> Values:
        return {agent: np.full((210, 160, 3), self.t, np.uint8) for agent in self.agents}


class Imprecise(Sound):
    """Sees more digits than its space has, and tells what no record can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict(dict.fromkeys(self.agents, spaces.Box(-1e6, 1e6, (3,), np.float32)))

    def step(self, action: Values) -> tuple[Values, float, bool, bool, Values]:
        seen, reward, terminated, truncated, _ = super().step(action)
        return seen, reward, terminated, truncated, {"world": object(), "t": self.t}


class Awaits(Sound):
    """Has a loop of its own."""

    def luck(self, action: Values) -> float:
        return asyncio.run(self.later(action["left"]))

    async def later(self, move: int) -> float:
        await asyncio.sleep(0)
        return 1e-3 * move


class Noisy(Sound):
    """Prints, by Python and past it, also without an end of line."""

    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        print("welcome")
        os.write(1, b"no end of line")
        return super().reset(seed=seed)


# -- what cannot be started -------------------------------------------------------------------------------------------


class WrongInside(Sound):
    def __init__(self) -> None:
        super().__init__()
        len(5)  # type: ignore[arg-type]


class Lacking(Sound):
    def __init__(self) -> None:
        import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401


class NoCartridge(Sound):
    def __init__(self) -> None:
        raise OSError("Unable to find game 'Pong'. Please install the ROM")


class WrongReset(Sound):
    def reset(self, *, seed: int | None = None, options: Values | None = None) -> tuple[Values, Values]:
        raise RuntimeError("no level")


class Before(Sound):
    """Of the time before gymnasium."""

    def reset(self) -> Values:  # type: ignore[override]
        return super().reset()[0]


class FourValues(Sound):
    def step(self, action: Values) -> tuple[Values, float, bool, Values]:  # type: ignore[override]
        return (*super().step(action)[:2], False, {})


class Masked(Sound):
    """Does not take an action that its mask forbids."""

    def __init__(self) -> None:
        super().__init__()
        mask = spaces.Dict(see=spaces.Box(-1e6, 1e6, (3,), np.float64), action_mask=spaces.MultiBinary(3))
        self.observation_space = spaces.Dict(dict.fromkeys(self.agents, mask))

    def _seen(self) -> Values:
        seen = super()._seen()
        return {a: {"see": s, "action_mask": np.array([1, 1, self.t < 3], np.int8)} for a, s in seen.items()}

    def luck(self, action: Values) -> float:
        if self.t > 3 and 2 in action.values():
            raise ValueError("illegal move")
        return 0.0


class Fatal(Sound):
    """Ends its process: at once, or in a step."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.at = at
        if at == 0:
            os.kill(os.getpid(), 9)

    def luck(self, action: Values) -> float:
        if self.t == self.at:
            sys.exit(3)
        return 0.0
