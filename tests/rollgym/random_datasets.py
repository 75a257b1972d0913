"""Data folders of random content: what is in a file and in the catalogue is drawn, not played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import msgspec
import numpy as np
from hypothesis import strategies as st

from rollgym.games.contract import Game
from rollgym.games.record.columns import prefix
from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Canonical, Export, RollbackEvent, Status
from rollgym.server.record import verdicts
from rollgym.server.record.finding import Finding
from tests.rollgym.stored import Judged, changed, judged, play

FRAMES = 6

GAMES: dict[str, dict[str, object]] = {
    "pong": {},
    "kitchen": {"cooks": 3, "npcs": {"cook_1": {"policy": "cook"}}},  # an agent between the players has none
}


@cache
def played(game: str) -> tuple[Export, ...]:
    """Exports to be changed."""
    (group,) = play(game, frames=FRAMES, parameters=GAMES[game])
    return tuple(group)


@dataclass(frozen=True)
class PlayerPlan:
    """What one player's export has."""

    frames: int
    status: str
    rewards: int
    """Seed of the rewards, if the players' versions differ."""
    rollbacks: int
    own: int
    """Seed of its own columns."""
    stats: dict[str, Any]


@dataclass(frozen=True)
class EpisodePlan:
    """One episode of a folder."""

    match: int
    episode: int
    condition: str
    game: str
    verdict: str
    rewards: int
    players: dict[int, PlayerPlan]


_PREFIX = tuple(status for status in get_args(Status) if status != "complete")

_PLAYERS = st.builds(
    lambda end, **others: PlayerPlan(*end, **others),
    end=st.just((FRAMES, "complete")) | st.tuples(st.integers(0, FRAMES), st.sampled_from(_PREFIX)),
    rewards=st.integers(0, 9),
    rollbacks=st.integers(0, 3),
    own=st.integers(0, 99),
    stats=st.fixed_dictionaries({}, optional={"stalls": st.one_of(st.integers(0, 9), st.none(), st.just("many"))}),
)


@st.composite
def datasets(draw: st.DrawFn) -> list[EpisodePlan]:
    """The episodes of a folder: of up to three matches, in any order."""
    keys = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4, unique=True))
    games = {match: draw(st.sampled_from(sorted(GAMES))) for match, _ in keys}
    plans = []
    for match, episode in keys:
        players = draw(st.dictionaries(st.integers(0, 1), _PLAYERS, min_size=1, max_size=2))
        verdict = draw(
            st.sampled_from(["diverged", "single"] if len(players) == 1 else ["verified", "diverged", "partial"])
        )
        plans.append(
            EpisodePlan(match, episode, f"c{match % 2}", games[match], verdict, draw(st.integers(0, 9)), players)
        )
    return plans


def write(root: Path, plans: list[EpisodePlan]) -> list[Judged]:
    """Write the files of a folder; what its catalogue would have."""
    found = []
    for plan in plans:
        exports = [_export(plan, player) for player in sorted(plan.players)]
        canonical = tuple(exports)
        if plan.verdict != "diverged":
            canonical = (max(exports, key=lambda export: export.header.frames),)
        finding = Finding(plan.verdict, f"as drawn: {plan.verdict}", None, canonical)
        with mock.patch.object(verdicts, "find", _finder(finding)):
            found.append(judged(root, exports, plan.condition))
    return found


def _finder(finding: Finding) -> Callable[[list[Export], int, Game], Finding]:
    return lambda exports, players, game: finding


def _export(plan: EpisodePlan, player: int) -> Export:
    base, mine = played(plan.game)[player], plan.players[player]
    seed = mine.rewards if plan.verdict == "diverged" else plan.rewards
    agents = len(base.header.game.agents)
    rewards = np.random.default_rng(seed).normal(size=(FRAMES, agents)) * 10.0 ** np.arange(agents)
    if seed == 9:
        rewards[seed % FRAMES, 0] = np.nan
    facts = Canonical({**base.canonical.columns, "rewards": Column.of(rewards)}, base.canonical.infos)
    export = changed(
        base,
        prefix(facts, mine.frames),
        match=f"m{plan.match:024x}",
        episode=plan.episode,
        seed=1000 * plan.match + plan.episode,
        frames=mine.frames,
        status=mine.status,
    )
    rng = np.random.default_rng(mine.own)
    columns = {name: Column.of(column.array()[: mine.frames]) for name, column in base.own.columns.items()}
    columns = {name: column for name, column in columns.items() if not name.startswith("seen")}
    for name in ("mispredicted", "was_speculative"):
        columns[name] = Column.of(rng.integers(0, 2, mine.frames).astype(bool))
    columns["rtt"] = Column.of(np.where(rng.random(mine.frames) < 0.5, rng.random(mine.frames), np.nan))
    event = RollbackEvent(2, 1, 1, 0, b"\0", b"\1", 0.5)
    own = msgspec.structs.replace(
        base.own,
        columns=columns,
        rollbacks=[event] * mine.rollbacks,
        tail=None,
        stats=mine.stats,
        started_at=float(mine.own),
        ended_at=float(mine.own + mine.frames),
    )
    return msgspec.structs.replace(export, own=own)
