"""What players' exports come to: counted from the frames, whatever peers say of themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rollgym.protocol.episode.column import Column
from rollgym.protocol.episode.export import Export
from rollgym.protocol.episode.player_row import EpisodePlayerRow
from rollgym.protocol.files.episode_players import episode_player
from rollgym.server.storage.rows import EpisodeRow
from tests.rollgym.stored import altered, changed, judged, play

STATS = {"stalls": 3, "rollbacks": 10**9, "mispredictions": 10**9}


def own(export: Export, stats: dict[str, Any], **columns: Sequence[float]) -> Export:
    """The export with another own part: it has no digest to fit."""
    arrays = {n: Column.of(np.array(v, export.own.columns[n].dtype)) for n, v in columns.items()}
    new = msgspec.structs.replace(export.own, stats=stats, columns={**export.own.columns, **arrays})
    return msgspec.structs.replace(export, own=new)


def counted(export: Export) -> EpisodePlayerRow:
    return episode_player(export.header, export.canonical, export.own)


@pytest.fixture(scope="module")
def exports() -> list[Export]:
    (group,) = play(frames=40)
    return group


def test_it_is_counted_from_the_frames(exports: list[Export]) -> None:
    export = own(
        exports[1],
        STATS,
        mispredicted=[1, 0, 1, 1] + [0] * 36,
        was_speculative=[1] * 7 + [0] * 33,
        rtt=[math.nan] * 37 + [0.25, 0.125, 9.0],
    )
    row = counted(export)
    assert (row.player, row.policy) == (1, "RandomPolicy")
    assert (row.mispredicted, row.speculative, row.rtt, row.stalls) == (3, 7, 0.25, 3)
    assert row.rollbacks == len(export.own.rollbacks) > 0
    assert (row.began, row.ended) == (export.own.started_at, export.own.ended_at)


def test_a_players_reward_is_its_own_agents(exports: list[Export]) -> None:
    before = [counted(export).reward for export in exports]
    raised = altered(exports[0], "rewards", (7, 1), 0.5)
    assert [episode_player(raised.header, raised.canonical, e.own).reward for e in exports] == [
        before[0],
        (before[1] or 0.0) + 0.5,
    ]


@pytest.mark.parametrize("stalls", [None, "3", 3.0, True, -1, 1 << 63, [3]])
def test_what_is_no_count_of_stalls_is_none(exports: list[Export], stalls: object) -> None:
    assert counted(own(exports[0], {"stalls": stalls})).stalls is None
    assert counted(own(exports[0], {})).stalls is None


def test_what_is_not_a_number_is_none(exports: list[Export]) -> None:
    export = altered(own(exports[0], STATS, rtt=[math.nan] * 40), "rewards", (3, 0), math.nan)
    export = msgspec.structs.replace(export, own=msgspec.structs.replace(export.own, started_at=math.nan))
    row = counted(export)
    assert (row.rtt, row.reward, row.began) == (None, None, None)


def verdict_on(root: Path, exports: list[Export]) -> EpisodeRow:
    return judged(root, exports)[0]


def test_a_verdict_has_them_from_the_facts_that_it_is_about(tmp_path: Path, exports: list[Export]) -> None:
    row = verdict_on(tmp_path / "verified", exports)
    assert (row.verdict, row.by_player) == ("verified", tuple(map(counted, exports)))
    # Of a player who stopped early the longer canonical part counts, and of diverged versions each player's own.
    diverged = [exports[0], altered(exports[1], "rewards", (20, 1), 2.0)]
    row = verdict_on(tmp_path / "diverged", diverged)
    assert (row.verdict, row.by_player) == ("diverged", tuple(map(counted, diverged)))
    assert row.by_player[1].reward != counted(exports[1]).reward
    row = verdict_on(tmp_path / "single", [changed(exports[1], status="aborted")])
    assert (row.verdict, row.by_player) == ("single", (counted(exports[1]),))
