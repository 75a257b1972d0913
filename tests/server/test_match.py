"""Whose uploads are waited for, and until when: the match by itself, with the time in the test's hands."""

from __future__ import annotations

import pytest

from rollgym.games.builtin.drift.rules import Drift
from rollgym.games.identity import identity
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.packets import Reached
from rollgym.server.lobby.queue import Group
from rollgym.server.play.match import LAST_UPLOADS, Match, Phase, Seat
from rollgym.server.play.signs import Signs
from rollgym.server.storage.rows import MatchRow

GRACE = 30.0
LAST = Reached(1, 1000)


def a_match(players: int = 2, *, episodes: int = 2, grace: float = GRACE, earlier: bool = False) -> Match:
    names = tuple(f"p{n}" for n in range(players))
    settings = PlaySettings(episodes=episodes)
    row = MatchRow("m" + "0" * 24, "e", "c", "h", 1, identity(Drift().spec), settings, names, ({},) * players, 0.0)
    seats = [Seat(name, name, Signs(0.0, LAST), relayed=True) for name in names]
    return Match(row, seats, grace, group=None if earlier else Group(names))


def test_while_all_play_only_whole_episodes_are_judged() -> None:
    match = a_match()
    match.uploads = {0: {0, 1}, 1: {0}}
    assert match.to_judge(1e9) == [0]
    assert match.changes_at(0.0) is None
    assert not match.closed(1e9)
    match.judged[0] = frozenset({0, 1})
    assert match.to_judge(1e9) == []


def test_one_who_left_is_waited_for_two_seconds_and_not_for_the_whole_grace() -> None:
    match = a_match()
    match.uploads = {0: {0}}
    match.leave(1, 100.0)
    assert match.to_judge(100.0) == []
    assert match.changes_at(100.0) == 100.0 + LAST_UPLOADS < 100.0 + GRACE
    assert match.to_judge(100.0 + LAST_UPLOADS) == [0]
    # The survivor is still there: it may have more, and the match goes on.
    assert not match.closed(1e9)
    match.seats[0].finished = True
    assert match.closed(100.0 + LAST_UPLOADS)


def test_a_shorter_grace_is_kept_to() -> None:
    match = a_match(grace=0.5)
    match.uploads = {0: {0}}
    match.leave(1, 100.0)
    assert match.changes_at(100.0) == 100.5


def test_a_late_upload_leads_to_a_new_verdict() -> None:
    match = a_match()
    match.uploads = {0: {0}}
    match.judged = {0: frozenset({0})}
    match.leave(1, 100.0)
    assert match.to_judge(200.0) == []
    match.uploads[0].add(1)
    assert match.to_judge(200.0) == [0]
    assert not match.over(200.0)


def test_after_a_restart_the_whole_grace_is_waited_for() -> None:
    match = a_match(earlier=True)
    match.uploads = {0: {0}}
    for player in (0, 1):
        match.leave(player, 100.0)
    assert match.phase is Phase.UPLOADING
    assert match.to_judge(100.0 + LAST_UPLOADS) == []
    assert match.changes_at(100.0) == 100.0 + GRACE
    assert match.to_judge(100.0 + GRACE) == [0]
    assert match.closed(100.0 + GRACE)


def test_who_is_only_away_is_waited_for() -> None:
    match = a_match()
    match.uploads = {0: {0}}
    match.seats[0].finished = True
    match.seats[1].client, match.seats[1].lost_at = None, 100.0
    assert match.seats[1].state == "away"
    assert match.to_judge(1e9) == []
    assert not match.closed(1e9)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_of_three_the_other_two_are_waited_for(gone: int) -> None:
    match = a_match(3)
    here = [player for player in range(3) if player != gone]
    match.leave(gone, 100.0)
    match.uploads = {0: {here[0]}, 1: set(here)}
    assert match.to_judge(1000.0) == [1]
    match.uploads[0].add(here[1])
    assert match.to_judge(1000.0) == [0, 1]


def test_complete_matches_wait_for_nobody() -> None:
    match = a_match()
    match.uploads = {0: {0, 1}, 1: {0, 1}}
    assert match.closed(0.0)
    assert not match.over(0.0)
    match.judged = {0: frozenset({0, 1}), 1: frozenset({0, 1})}
    assert match.over(0.0)
