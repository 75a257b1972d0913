"""Games around games forward what they do not change."""

from __future__ import annotations

import inspect

from rollgym.games.contract import Game
from rollgym.games.frame_limit import FrameLimit
from rollgym.games.npcs.npc import with_npcs
from rollgym.games.registry import make
from rollgym.games.wrapper import GameWrapper


def test_a_wrapper_forwards_all_that_a_game_can_do() -> None:
    asked = {name for name, member in vars(Game).items() if inspect.isfunction(member) and not name.startswith("_")}
    # A digest is that of the wrapper's own bytes.
    assert asked - set(vars(GameWrapper)) == {"digest"}


def test_wrappers_around_wrappers_show_the_game_and_keep_their_own_state() -> None:
    plain = make("kitchen", {"max_frames": None})
    game = FrameLimit(with_npcs(make("kitchen", {"max_frames": None}), {plain.spec.agents[0]: "cook"}), 5)
    game.reset(3)
    middle = game.save()
    seen = game.observe()
    for _ in range(2):
        ends = [game.step(game.spec.default_inputs).terminal for _ in range(5)]
        assert ends == [False] * 4 + [True]
        for one, other in zip(game.observe_at(middle), seen, strict=True):
            assert {key: part.tolist() for key, part in one.items()} == {k: part.tolist() for k, part in other.items()}
        game.load(middle)
    assert game.render_text() == plain_text(game)
    assert {"frame_limit.frame", "npcs.frame"} <= game.state_fields(middle).keys()
    assert game.digest(middle) != game.game.digest(middle[1])
    assert [len(part) for part in game.observe_agents((1,))] == [len(seen[1])]
    game.close()


def plain_text(game: FrameLimit) -> str | None:
    inner = game.game
    assert isinstance(inner, GameWrapper)
    return inner.game.render_text()
