"""Matches as plain data: drawn at random, kept as JSON.

A :class:`Plan` is everything a simulated match of the toy game depends on. ``judging`` plays plans, ``shrinking``
makes those that fail smaller.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from rollgym.client_sim.network_model import Link, NetworkConditions

T = TypeVar("T")

FPS = 60

CORPUS = Path(__file__).parent / "corpus"
"""Plans that failed once, as JSON."""


@dataclass(frozen=True)
class Plan:
    """A match of the toy game, its network and its faults. Times are seconds of virtual time."""

    players: int = 2
    seed: int = 0
    episodes: int = 1
    frames: int = 90
    delay: int = 0
    window: int = 8
    save_every: int = 1
    checksum_interval: int = 10
    hold: int = 1
    """Every player's input changes every so many frames."""
    ends_from: int | None = None
    """The toy's terminal rule: from this frame on, inputs can end the episode."""
    forward: dict[str, float] = field(default_factory=dict)
    """Network conditions from lower to higher player; those that differ from a perfect link."""
    backward: dict[str, float] = field(default_factory=dict)
    pauses: tuple[tuple[int, float, float], ...] = ()
    """(player, from, for how long)"""
    partitions: tuple[tuple[float, float, int | None], ...] = ()
    """(from, for how long, of whose packets or all)"""
    cuts: tuple[tuple[float, float, int, int], ...] = ()
    """(from, for how long, of whose packets, to whom)"""
    kills: tuple[tuple[int, float], ...] = ()
    """(player, when): gone without a goodbye."""
    notify_after: float | None = None
    """Seconds after which the server tells the others of a kill; None: they have to notice."""
    on_disconnect: str = "end"
    away: str = "stall"
    starts: tuple[float, ...] = ()
    breaks_at: int | None = None
    """``S_breaks_at`` differs at the last player's peer."""
    on_desync: str = "stop"
    timeout: float = 20.0
    """Seconds of silence after which somebody counts as gone. By default longer than all faults of a random plan."""

    def text(self) -> str:
        """The plan as JSON, without what is as by default."""
        empty = Plan()
        return json.dumps({k: v for k, v in asdict(self).items() if v != getattr(empty, k)})

    @classmethod
    def parse(cls, text: str) -> Plan:
        """The plan of a JSON text."""
        values = json.loads(text)
        for name in ("pauses", "partitions", "cuts", "kills"):
            values[name] = tuple(tuple(entry) for entry in values.get(name, ()))
        values["starts"] = tuple(values.get("starts", ()))
        return cls(**values)

    @property
    def link(self) -> Link:
        return Link(_conditions(self.forward), _conditions(self.backward))

    @property
    def deepest(self) -> int:
        """No rollback may be deeper. Who plays on while another is away does so for ten seconds."""
        return self.window if self.away == "stall" else max(self.window, 10 * FPS)

    @property
    def silence(self) -> float:
        """Seconds until somebody who says nothing counts as gone."""
        return self.timeout if self.away == "stall" else max(self.timeout, 10.0)

    @property
    def survivors(self) -> list[int]:
        """Players who are there to the end."""
        return [player for player in range(self.players) if player not in {killed for killed, _ in self.kills}]

    @property
    def healed(self) -> float:
        """When the last fault is over."""
        ends = [at + duration for _, at, duration in self.pauses]
        ends += [at + duration for at, duration, _ in self.partitions]
        ends += [at + duration for at, duration, *_ in self.cuts]
        ends += [at + self.silence for _, at in self.kills]
        return max([0.0, *self.starts, *ends])

    @property
    def time_limit(self) -> float:
        """Far more than any match needs that makes progress at all: each frame may wait for several retransmissions."""
        worst = max(
            c.latency + c.jitter + c.reorder_delay + c.retransmit for c in (self.link.forward, self.link.backward)
        )
        loss = max(c.loss + c.burst_start * c.burst_length for c in (self.link.forward, self.link.backward))
        frame = 1 / FPS + (2 * worst + 0.1) * (1 + 8 * loss)
        return self.healed + 2 * self.silence + self.episodes * (self.frames * frame + 10.0)


def _conditions(values: dict[str, float]) -> NetworkConditions:
    whole = {name: int(value) if name == "burst_length" else value for name, value in values.items()}
    return NetworkConditions(**whole)  # type: ignore[arg-type]


# -- drawing -----------------------------------------------------------------------------------------------------------


class Draw(Protocol):
    """Where choices come from: a seeded generator, or hypothesis."""

    def integer(self, low: int, high: int) -> int: ...

    def choice(self, among: Sequence[T]) -> T: ...


class Dice:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def choice(self, among: Sequence[T]) -> T:
        return self._random.choice(among)


def draw_plan(draw: Draw, *, frames: tuple[int, int] = (40, 100), players: Sequence[int] = (2, 2, 2, 3, 4)) -> Plan:
    """A match with faults, all of which are over after its first two thirds."""
    count = draw.choice(players)
    length = draw.integer(*frames)
    every = draw.choice((1, 1, 1, 2, 3, 5))
    forward = _draw_conditions(draw)
    span = int(length / FPS * 1000 * 2 / 3)
    return Plan(
        players=count,
        seed=draw.integer(0, 1 << 30),
        episodes=draw.choice((1, 1, 2, 3)),
        frames=length,
        delay=draw.choice((0, 0, 1, 2, 4, 7)),
        window=draw.choice((0, 1, 2, 4, 8, 8, 12, 30, 200)),
        save_every=every,
        checksum_interval=every * draw.choice((1, 2, 5, 10)),
        hold=draw.choice((1, 1, 2, 4, 9)),
        ends_from=draw.choice((None, None, 0, length // 3)),
        forward=forward,
        backward=draw.choice((forward, _draw_conditions(draw))),
        pauses=tuple(
            (draw.integer(0, count - 1), draw.integer(0, span) / 1000, draw.choice((0.05, 0.2, 0.7, 3.0)))
            for _ in range(draw.choice((0, 0, 1, 2)))
        ),
        partitions=tuple(
            (draw.integer(0, span) / 1000, draw.choice((0.1, 0.5, 2.0)), draw.choice((None, *range(count))))
            for _ in range(draw.choice((0, 0, 1, 2)))
        ),
        starts=tuple(draw.choice((0.0, 0.0, 0.0, 0.01, 0.2)) for _ in range(count)),
        away=draw.choice(("stall", "stall", "play_on")),
    )


def draw_departure(draw: Draw, *, frames: tuple[int, int] = (20, 40)) -> Plan:
    """A match of three or four in which one or two players die, while packets between some others are lost."""
    plan = replace(draw_plan(draw, frames=frames, players=(3, 3, 4)), episodes=draw.choice((2, 3, 4)))
    span = int(plan.frames / FPS * 1000)
    victims = [draw.integer(0, plan.players - 1)]
    if plan.players == 4 and draw.integer(0, 1):
        victims.append((victims[0] + draw.integer(1, 3)) % 4)
    # Half a second for everybody to meet: who never began has nothing to agree on.
    kills = tuple((victim, draw.integer(900, 900 + span * plan.episodes) / 1000) for victim in victims)
    pairs = [(victim, other) for victim in victims for other in range(plan.players) if other != victim]
    moments = dict(kills)
    cuts = []
    for _ in range(draw.choice((0, 1, 1, 2))):
        victim, other = draw.choice(pairs)
        before = draw.choice((0.03, 0.1, 0.4))
        cuts.append((max(0.0, moments[victim] - before), before + draw.choice((0.0, 0.5)), victim, other))
    return replace(
        plan,
        kills=kills,
        cuts=tuple(cuts),
        notify_after=draw.choice((None, 0.05, 0.3)),
        on_disconnect=draw.choice(("end", "continue")),
        pauses=tuple((player, 0.7 + at, min(duration, 0.7)) for player, at, duration in plan.pauses),
        partitions=tuple((0.7 + at, min(duration, 0.5), whose) for at, duration, whose in plan.partitions),
        starts=(),
        timeout=4.0,
    )


def _draw_conditions(draw: Draw) -> dict[str, float]:
    values: dict[str, float] = {"latency": draw.choice((0, 5, 20, 50, 90, 250)) / 1000}
    values["jitter"] = draw.choice((0.0, 0.004, 0.02, 0.05))
    values["loss"] = draw.choice((0.0, 0.0, 0.02, 0.1, 0.3))
    if draw.integer(0, 4) == 0:
        values["retransmit"] = 0.2
    else:
        values["reorder"] = draw.choice((0.0, 0.05, 0.3))
        values["duplicate"] = draw.choice((0.0, 0.05, 0.2))
    if draw.integer(0, 3) == 0:
        values["burst_start"], values["burst_length"] = 0.03, draw.choice((2, 5, 10))
    return {name: value for name, value in values.items() if value}
