"""Played episodes and what every frame of them gave, in a form that can be compared exactly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import xxhash

from rollgym.checking.timing import Stopwatch
from rollgym.games.canonical_bytes import plain_bytes
from rollgym.games.contract import Game, JointInput, Outcome
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.spaces.described import flatten, leaves

ABSENT = "<absent>"


class Shown(NamedTuple):
    """What a frame gave, each part as a digest."""

    state: str
    observations: tuple[str, ...]
    rewards: tuple[str, ...]
    terminations: tuple[bool, ...]
    truncations: tuple[bool, ...]
    infos: tuple[str, ...]


class Difference(NamedTuple):
    """Where two plays of the same inputs part."""

    frame: int
    """The step after which they differ; -1 is the reset."""
    part: str
    """``state``, or what was given out: ``observations``, ``rewards`` and so on."""
    path: str
    first: str
    again: str

    def __str__(self) -> str:
        when = "after the reset" if self.frame < 0 else f"after frame {self.frame}"
        return f"{when}, {self.part} {self.path}: {self.first} became {self.again}"


@dataclass
class Trace:
    """One episode, or the beginning of one, played straight on."""

    seed: int
    inputs: list[JointInput] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    """One more than inputs: the first is of the reset."""
    snapshots: list[Any] = field(default_factory=list)
    ended: bool = False
    infos: int = 0
    """Entries of infos, of all frames and agents."""
    game: Game | None = None
    """The instance that played it, and that its snapshots belong to."""


def bots(game: Game, policy: str, seed: int) -> list[Policy]:
    """One policy per player. Raises :class:`~rollgym.games.errors.GameError` if it cannot play the game."""
    return [make_policy(policy, game.spec, player, seed + player) for player in range(game.spec.players)]


def record(
    game: Game,
    policies: Sequence[Policy],
    seed: int,
    frames: int,
    *,
    trace: Trace | None = None,
    doing: Callable[[str], None] = lambda _: None,
    watch: Stopwatch | None = None,
) -> Trace:
    """Let policies play from ``seed``, and keep a snapshot of every state. What was played before it raised is in
    ``trace``."""
    trace = Trace(seed, game=game) if trace is None else trace
    watch = Stopwatch() if watch is None else watch
    for policy in policies:
        policy.reset(seed)
    doing("resetting")
    with watch.of("reset"):
        infos = game.reset(seed)
    _keep(game, trace, nothing_yet(game, infos))
    seats = game.spec.seats
    while len(trace.inputs) < frames and not trace.ended:
        seen = game.observe()
        frame = len(trace.inputs)
        joint = tuple(
            codec.encode(policy.act(seen[agent], frame))
            for codec, policy, agent in zip(game.spec.input_codecs, policies, seats, strict=True)
        )
        doing(f"playing, frame {frame} of at most {frames}")
        with watch.of("step"):
            outcome = game.step(joint)
        trace.inputs.append(joint)
        _keep(game, trace, outcome)
        trace.ended = outcome.terminal
    return trace


def played(game: Game, trace: Trace) -> Trace:
    """The same inputs played by another game, with what that one shows."""
    again = Trace(trace.seed, list(trace.inputs), ended=trace.ended, game=game)
    _keep(game, again, nothing_yet(game, game.reset(trace.seed)))
    for joint in trace.inputs:
        _keep(game, again, game.step(joint))
    return again


def replay(game: Game, trace: Trace) -> Generator[Shown, None, None]:
    """Play a trace's inputs again from its seed and show every frame, the reset first."""
    infos = game.reset(trace.seed)
    yield show(game, nothing_yet(game, infos), game.save())
    for joint in trace.inputs:
        outcome = game.step(joint)
        yield show(game, outcome, game.save())


def show(game: Game, outcome: Outcome, snapshot: Any) -> Shown:
    """The digests of what a frame gave."""
    spaces = game.spec.observation_spaces
    seen = game.observe()
    return Shown(
        xxhash.xxh3_128_hexdigest(game.state_bytes(snapshot)),
        tuple(_observation(space, part) for space, part in zip(spaces, seen, strict=True)),
        tuple(float(reward).hex() for reward in outcome.rewards),
        outcome.terminated,
        outcome.truncated,
        tuple(xxhash.xxh3_128_hexdigest(_sorted_bytes(info)) for info in outcome.infos),
    )


def difference(frame: int, one: Shown, two: Shown, agents: Sequence[str]) -> Difference | None:
    """The first part that differs. For a state the path is still to be found: :func:`state_difference`."""
    for name in ("observations", "rewards", "terminations", "truncations", "infos"):
        for agent, first, again in zip(agents, getattr(one, name), getattr(two, name), strict=True):
            if first != again:
                if name == "rewards":
                    first, again = float.fromhex(first), float.fromhex(again)
                return Difference(frame, name, f"of {agent}", str(first), str(again))
    if one.state != two.state:
        return Difference(frame, "state", "", one.state[:16], two.state[:16])
    return None


def located(game: Game, trace: Trace, frame: int, shown: Shown, snapshot: Any) -> Difference | None:
    """The first difference from a trace; a field of the state if one differs there, otherwise what was given out."""
    before, first = trace.snapshots[frame + 1], trace.game or game
    field = state_difference(first.state_fields(before), game.state_fields(snapshot))
    if field is not None:
        return Difference(frame, "state", *field)
    given = difference(frame, trace.shown[frame + 1], shown, game.spec.agents)
    if given is not None and given.part == "observations":
        seen = (dict(zip(game.spec.agents, o, strict=True)) for o in (first.observe_at(before), game.observe()))
        field = state_difference(*seen)
        return given if field is None else Difference(frame, "observations", *field)
    return given


def state_difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first field at which two results of ``Game.state_fields`` differ: its path and both values."""
    first, again = flat(one), flat(two)
    for path in [*first, *(path for path in again if path not in first)]:
        a, b = first.get(path, ABSENT), again.get(path, ABSENT)
        if text(a) != text(b):
            return _narrowed(path, a, b)
    return None


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping from path to leaf, in order."""
    if isinstance(value, Mapping):
        return {
            name: leaf
            for key, part in value.items()
            for name, leaf in flat(part, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(value, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in value):
        return {name: leaf for index, part in enumerate(value) for name, leaf in flat(part, f"{path}[{index}]").items()}
    return {path: value}


def text(value: Any) -> str:
    """A value in full, exact for floats and arrays."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {value.tolist()}"
    return repr(value)


def _narrowed(path: str, a: Any, b: Any) -> tuple[str, str, str]:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape and a.size:
        for index in np.ndindex(a.shape):
            if text(a[index]) != text(b[index]):
                return f"{path}[{', '.join(map(str, index))}]" if index else path, str(a[index]), str(b[index])
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for place, (one, two) in enumerate(zip(a, b, strict=True)):
            if repr(one) != repr(two):
                return f"{path}[{place}]", shortened(repr(one)), shortened(repr(two))
    return path, shortened(text(a)), shortened(text(b))


def shortened(value: str, limit: int = 120) -> str:
    """At most ``limit`` characters of a text."""
    return value if len(value) <= limit else value[: limit - 4] + " ..."


def _keep(game: Game, trace: Trace, outcome: Outcome) -> None:
    snapshot = game.save()
    trace.infos += sum(map(len, outcome.infos))
    trace.snapshots.append(snapshot)
    trace.shown.append(show(game, outcome, snapshot))


def nothing_yet(game: Game, infos: tuple[Mapping[str, Any], ...]) -> Outcome:
    """What a reset gave, as an outcome."""
    count = len(game.spec.agents)
    return Outcome((0.0,) * count, (False,) * count, (False,) * count, infos, False)


def _observation(space: Any, seen: Any) -> str:
    parts = [f"{leaf.path}{leaf.dtype}{leaf.shape}".encode() for leaf in leaves(space)]
    parts += [plain_bytes([leaf]) for leaf in flatten(space, seen)]
    return xxhash.xxh3_128_hexdigest(b"".join(parts))


def _sorted_bytes(info: Mapping[str, Any]) -> bytes:
    return plain_bytes([[key, info[key]] for key in sorted(info)])
