"""A spectator plays what is confirmed, and nothing else."""

from __future__ import annotations

from rollgym.client_sim.rollback import Spectator, replay
from tests.rollback.toy import Bare

DEFAULTS = [b"\0", b"\0"]


def inputs(player: int, frame: int) -> bytes:
    return bytes([(frame * 7 + player * 3) // 2 % 4])


def values(player: int, start: int, end: int) -> list[bytes]:
    return [inputs(player, frame) for frame in range(start, end)]


def reference(frames: int) -> Bare:
    game = Bare()
    for _ in replay(game, [(inputs(0, f), inputs(1, f)) for f in range(frames)]):
        pass
    return game


def test_a_spectator_waits_for_every_player_and_never_rolls_back() -> None:
    game = Bare()
    spectator = Spectator(game, DEFAULTS)
    spectator.add_inputs(0, 0, values(0, 0, 50))
    assert spectator.advance() == 0
    for frame in range(50):
        spectator.add_inputs(1, frame, values(1, frame, frame + 1))
        assert spectator.advance() == 1
        assert spectator.advance() == 0
    assert game.state == reference(50).state
    assert (game.steps, game.loads, spectator.session.canonical) == (50, 0, 50)
    assert spectator.session.stats.rollbacks == 0


def test_a_spectator_that_is_far_behind_catches_up() -> None:
    game = Bare()
    spectator = Spectator(game, DEFAULTS, buffer=10, catch_up=3)
    for player in (0, 1):
        spectator.add_inputs(player, 0, values(player, 0, 100))
    assert spectator.behind == 100
    played = [spectator.advance() for _ in range(40)]
    assert played == [3] * 30 + [1] * 10
    assert spectator.behind == 0
    assert game.state == reference(100).state


def test_a_spectator_stops_at_the_terminal_frame() -> None:
    game = Bare(ends_from=20)
    spectator = Spectator(game, DEFAULTS, catch_up=8)
    for player in (0, 1):
        spectator.add_inputs(player, 0, [*values(player, 0, 30), b"\3", *values(player, 31, 60)])
    while spectator.advance():
        pass
    assert spectator.over
    last = spectator.session.terminal_frame
    assert last is not None
    assert 20 <= last <= 30
    assert (game.steps, spectator.session.canonical) == (last + 1, last + 1)


def test_replay_gives_every_frame_with_its_outcome() -> None:
    game = Bare()
    seen = list(replay(game, [(inputs(0, f), inputs(1, f)) for f in range(5)]))
    assert [frame for frame, _ in seen] == [0, 1, 2, 3, 4]
    assert game.steps == 5
