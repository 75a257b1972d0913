"""Everything that a simulated match depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollgym.client_sim.network_model import CONDITIONS, Link
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import Predictor
from rollgym.games.contract import Game
from rollgym.games.policy import Policy
from rollgym.protocol.messages import PlaySettings


@dataclass(frozen=True)
class Pause:
    """A peer that is not scheduled: from ``at`` for ``duration`` seconds it neither ticks nor reads packets."""

    player: int
    at: float
    duration: float


@dataclass(frozen=True)
class Partition:
    """All packets sent from ``at`` for ``duration`` seconds are lost (those from ``player`` only, if given)."""

    at: float
    duration: float
    player: int | None = None


@dataclass(frozen=True)
class Kill:
    """A peer is gone at ``at``, without a goodbye."""

    player: int
    at: float


@dataclass(frozen=True)
class Scenario:
    """Everything that a simulated match depends on."""

    settings: PlaySettings
    game: Callable[[], Game]
    policies: Sequence[Callable[[Game, int], Policy]]
    """One per player: (the player's game instance, its index) -> policy. Their number is the number of players."""
    seed: int = 0
    """The match seed; the network's draws are seeded by it as well."""
    match: str = "simulated"
    """The match's id."""
    policy_infos: Sequence[Mapping[str, Any]] = ()
    """Per player, what its record says of its policy; the class's name where not given."""
    software: Mapping[str, str] = field(default_factory=dict)
    """Versions, for every player's record."""
    predictor: Predictor = repeat_last
    """What every peer takes for an input that has not arrived."""
    link: Link = CONDITIONS["local"]
    pauses: Sequence[Pause] = ()
    partitions: Sequence[Partition] = ()
    kills: Sequence[Kill] = ()
    starts: Sequence[float] = ()
    """Seconds at which each player's peer comes up; 0 where not given."""
    notify_after: float | None = None
    """Seconds after which the others are told of a kill, as the server does; None: they have to notice."""
    computing: Callable[[int], float] | None = None
    """(player) -> seconds that its game has taken since this was last asked, which is after every poll of its peer. So
    much later the peer's packets leave and it goes on; meanwhile its client says hello for it, as a real one does."""
    time_limit: float | None = None
    """Virtual seconds; None: derived from episodes, frame limit and fps, or an hour an episode without a limit."""
