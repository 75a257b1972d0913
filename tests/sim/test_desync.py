"""Desyncs: reported if and only if states differ, once, at the first checksum at or after the frame where they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rollgym.client_sim.peer.events import DesyncFound
from rollgym.games.frame_limit import limited
from rollgym.protocol.episode.parity import compare_episodes
from tests.rollback.toy import Toy
from tests.sim.judging import Played, judge, play
from tests.sim.plans import Dice, Plan, draw_plan

CALM = {"latency": 0.03, "jitter": 0.01}


def while_playing(played: Played, player: int) -> list[DesyncFound]:
    """Reports that come from checksums; those of differing ends name the number of frames."""
    return [found for found in played.result.players[player].desyncs if "frames" not in found.local]


def digest_of(played: Played, plan: Plan, player: int, frame: int) -> str:
    """The digest of ``S_frame`` in a player's own export's inputs, by replay in a game with that player's defect."""
    export = played.result.players[player].exports[0]
    secret = 0x5EC2E7 if player == plan.players - 1 else 0
    game = limited(Toy(plan.players, breaks_at=plan.breaks_at, secret=secret), plan.frames)
    game.reset(export.header.seed)
    actions = [export.canonical.columns[f"actions/agent_{one}"].array() for one in range(plan.players)]
    for at in range(frame):
        game.step(tuple(actions[one][at].tobytes() for one in range(plan.players)))
    return f"{game.digest(game.save()):016x}"


def first_checksum(plan: Plan) -> int:
    assert plan.breaks_at is not None
    return -(-plan.breaks_at // plan.checksum_interval) * plan.checksum_interval


def every_mode() -> Iterator[Plan]:
    for every in (1, 2, 5):
        for window, delay in ((8, 0), (8, 2), (0, 1), (30, 0)):
            for breaks_at in (1, 29, 30, 31):
                yield Plan(
                    frames=60,
                    window=window,
                    delay=delay,
                    save_every=every,
                    forward=CALM,
                    backward=CALM,
                    breaks_at=breaks_at,
                )


def test_reported_once_with_frame_player_and_digests() -> None:
    modes = 0
    for plain in every_mode():
        plan = replace(plain, on_desync="continue")
        played = play(plan)
        frame = first_checksum(plan)
        digests = [digest_of(played, plan, player, frame) for player in (0, 1)]
        assert digests[0] != digests[1]
        for player in (0, 1):
            found = DesyncFound(0, frame, 1 - player, digests[player], digests[1 - player])
            assert while_playing(played, player) == [found], plan.text()
            assert played.result.players[player].exports[0].header.frames == 60
        one, two = (player.exports[0] for player in played.result.players)
        difference = compare_episodes((one.header, one.canonical), (two.header, two.canonical))
        assert difference is not None
        assert difference.frame == (plan.breaks_at or 0) - 1, "the frame that led to the first different state"
        modes += 1
    assert modes == 48


def test_play_stops_by_default() -> None:
    for plan in every_mode():
        played = play(plan)
        assert plan.breaks_at is not None
        for player, result in enumerate(played.result.players):
            assert [export.header.status for export in result.exports] == ["desync"], plan.text()
            assert result.ended in ("desync", "left")
            assert len(result.desyncs) <= 1
            assert result.exports[0].header.frames >= first_checksum(plan)
            assert result.exports[0].own.player == player
        assert any(while_playing(played, player) for player in (0, 1))


def test_no_false_alarm_in_any_mode() -> None:
    rollbacks = 0
    for plan in every_mode():
        problems, played = judge(replace(plan, breaks_at=None))
        assert not problems
        assert played is not None
        rollbacks += played.rollbacks
        for result in played.result.players:
            stats = result.exports[0].own.stats
            assert stats["checksums_matched"] == stats["checksums_compared"] > 0
    assert rollbacks > 500


@pytest.mark.parametrize("breaks_at", [58, 60])
def test_a_difference_after_the_last_checksum_shows_at_the_end(breaks_at: int) -> None:
    plan = Plan(frames=60, checksum_interval=25, forward=CALM, backward=CALM, breaks_at=breaks_at)
    played = play(plan)
    for player, result in enumerate(played.result.players):
        assert [export.header.status for export in result.exports] == ["complete"]
        assert [found.player for found in result.desyncs] == [1 - player]
        assert result.ended == "desync"


def test_random_schedules_with_a_defect() -> None:
    """Whatever the network does, both sides hear of it; three peers and four blame the right one."""
    reported = 0
    for number in range(60):
        drawn = draw_plan(Dice(number), frames=(30, 60))
        plan = replace(drawn, episodes=1, starts=(), ends_from=None, breaks_at=1 + number % 30, on_desync="continue")
        played = play(plan)
        for player, result in enumerate(played.result.players):
            found = result.desyncs
            assert found, f"player {player} heard of nothing: {plan.text()}"
            assert {one.player for one in found} <= (
                {plan.players - 1} if player < plan.players - 1 else set(range(plan.players - 1))
            ), plan.text()
            assert len(while_playing(played, player)) <= 1
            assert all(one.frame >= (plan.breaks_at or 0) for one in while_playing(played, player))
            reported += len(while_playing(played, player))
    assert reported > 60
