"""The kitchen's rules, held against small scenes worked out by hand and against what must hold in any play."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollgym.games.builtin.kitchen.bot import CookPolicy
from rollgym.games.builtin.kitchen.layouts import (
    COUNTER,
    DOWN,
    FLOOR,
    HATCH,
    LAYOUTS,
    LEFT,
    ONIONS,
    POT,
    RIGHT,
    UP,
    layout,
)
from rollgym.games.builtin.kitchen.rules import (
    DISH,
    FIELDS,
    GO_DOWN,
    GO_LEFT,
    GO_RIGHT,
    GO_UP,
    NOTHING,
    ONION,
    SOUP,
    STAY,
    USE,
    Kitchen,
)
from rollgym.games.contract import Outcome
from rollgym.games.errors import GameError
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import make


def kitchen(**parameters: Any) -> Kitchen:
    game = make("kitchen", parameters)
    assert isinstance(game, Kitchen)
    game.reset(1)
    return game


def place(game: Kitchen, **fields: Any) -> None:
    """Put the game into a state that differs from the present one in these fields."""
    values = dict(zip(FIELDS, game.save(), strict=True))
    assert fields.keys() <= values.keys()
    state: Any = tuple({**values, **fields}.values())
    game.load(state)


def state(game: Kitchen, field: str) -> Any:
    return dict(zip(FIELDS, game.save(), strict=True))[field]


def act(game: Kitchen, *actions: int) -> Outcome:
    return game.step(tuple(bytes([action]) for action in actions))


def cell(game: Kitchen, row: int, column: int) -> int:
    return row * game.layout.columns + column


# The studio: ##O#P## / #1...2# / D..3..# / #.....# / ##S##P#


def test_a_soup_from_the_onions_to_the_hatch() -> None:
    game = kitchen(cook_time=4)
    place(game, cells=(cell(game, 1, 2), cell(game, 3, 5)), facing=(UP, DOWN))
    for onions in (1, 2, 3):
        act(game, USE, STAY)
        assert state(game, "held") == (ONION, NOTHING)
        act(game, GO_RIGHT, STAY)
        act(game, GO_RIGHT, STAY)
        act(game, GO_UP, STAY)
        outcome = act(game, USE, STAY)
        assert outcome.infos == ({"potted": onions}, {})
        assert state(game, "held") == (NOTHING, NOTHING)
        assert state(game, "pots") == (onions, 0)
        if onions < 3:
            act(game, GO_LEFT, STAY)
            act(game, GO_LEFT, STAY)
            act(game, GO_UP, STAY)
    # It cooks by itself. Cook 0 holds a dish, and no soup comes before its time.
    place(game, held=(DISH, NOTHING))
    for cooked in (1, 2, 3):
        assert act(game, USE, STAY).infos == ({}, {})
        assert state(game, "pots") == (3 + cooked, 0)
        assert state(game, "held") == (DISH, NOTHING)
    assert act(game, USE, STAY).infos == ({"plated": 1}, {})
    assert state(game, "held") == (SOUP, NOTHING)
    assert state(game, "pots") == (0, 0)
    for action in (GO_LEFT, GO_LEFT, GO_DOWN, GO_DOWN, GO_DOWN):
        assert act(game, action, STAY).rewards == (0.0, 0.0)
    assert state(game, "cells")[0] == cell(game, 3, 2)
    served = act(game, USE, STAY)
    assert served == Outcome((1.0, 1.0), (False, False), (False, False), ({"served": 1}, {}), False)
    assert (state(game, "served"), state(game, "held")) == (1, (NOTHING, NOTHING))


def test_what_hands_cannot_do() -> None:
    game = kitchen(cook_time=4)
    pot, box, rack, hatch, counter = ((1, 4), UP), ((1, 2), UP), ((2, 1), LEFT), ((3, 2), DOWN), ((1, 1), UP)
    for (at, facing), held, pots, after in (
        (box, DISH, (0, 0), DISH),  # full hands take nothing
        (rack, ONION, (0, 0), ONION),
        (hatch, ONION, (0, 0), ONION),
        (hatch, DISH, (0, 0), DISH),
        (hatch, NOTHING, (0, 0), NOTHING),
        (pot, NOTHING, (7, 0), NOTHING),  # soup comes out on a dish only
        (pot, SOUP, (2, 0), SOUP),
        (pot, DISH, (2, 0), DISH),
        (pot, ONION, (3, 0), ONION),  # a full pot takes no more
        (counter, NOTHING, (0, 0), NOTHING),
    ):
        place(game, cells=(cell(game, *at), cell(game, 3, 5)), facing=(facing, DOWN), held=(held, 0), pots=pots)
        outcome = act(game, USE, STAY)
        assert (state(game, "held"), outcome.infos) == ((after, NOTHING), ({}, {})), (at, held)
        assert sum(state(game, "counters")) == 0


@pytest.mark.parametrize("item", [ONION, DISH, SOUP])
def test_counters_hold_one_thing(item: int) -> None:
    game = kitchen()
    place(game, cells=(cell(game, 1, 1), cell(game, 3, 5)), facing=(UP, DOWN), held=(item, NOTHING))
    act(game, USE, STAY)
    at = game.layout.index[cell(game, 0, 1)]
    assert (state(game, "held")[0], state(game, "counters")[at], sum(state(game, "counters"))) == (0, item, item)
    place(game, held=(ONION, NOTHING))
    act(game, USE, STAY)
    assert (state(game, "held")[0], state(game, "counters")[at]) == (ONION, item)
    place(game, held=(NOTHING, NOTHING))
    act(game, USE, STAY)
    assert (state(game, "held")[0], sum(state(game, "counters"))) == (item, 0)


def test_of_two_hands_the_first_one_takes_turns() -> None:
    game = kitchen()
    at = game.layout.index[cell(game, 0, 1)]
    winners = []
    for frame in (10, 11):
        counters = tuple(ONION if i == at else NOTHING for i in range(len(state(game, "counters"))))
        # Nobody can stand side by side with the same corner in front, so the cell is made up: both face (0, 1).
        place(game, frame=frame, cells=(cell(game, 1, 1), cell(game, 1, 1)), facing=(UP, UP), counters=counters)
        act(game, USE, USE)
        winners.append(state(game, "held").index(ONION))
        place(game, held=(NOTHING, NOTHING))
    assert sorted(winners) == [0, 1]


# -- moving ------------------------------------------------------------------------------------------------------


def test_walls_stop_but_turn() -> None:
    game = kitchen()
    place(game, cells=(cell(game, 1, 1), cell(game, 3, 5)), facing=(DOWN, DOWN))
    act(game, GO_UP, GO_RIGHT)
    assert state(game, "cells") == (cell(game, 1, 1), cell(game, 3, 5))
    assert state(game, "facing") == (UP, RIGHT)
    act(game, GO_RIGHT, GO_UP)
    assert state(game, "cells") == (cell(game, 1, 2), cell(game, 2, 5))


def test_nobody_walks_through_anybody() -> None:
    game = kitchen()
    left, right, beyond = (cell(game, 2, column) for column in (2, 3, 4))
    place(game, cells=(left, right))
    rng = state(game, "rng")
    act(game, GO_RIGHT, STAY)  # somebody stands there
    assert state(game, "cells") == (left, right)
    act(game, GO_RIGHT, GO_LEFT)  # they would pass through each other
    assert state(game, "cells") == (left, right)
    assert state(game, "rng") == rng
    act(game, GO_RIGHT, GO_RIGHT)  # the place becomes free in the same frame
    assert state(game, "cells") == (right, beyond)
    act(game, GO_RIGHT, GO_DOWN)
    assert state(game, "cells") == (beyond, cell(game, 3, 4))


def test_who_gets_a_free_cell_is_drawn() -> None:
    game = kitchen()
    left, middle, right = (cell(game, 2, column) for column in (2, 3, 4))
    winners = []
    place(game, cells=(left, right))
    for _ in range(200):
        before = state(game, "rng")
        act(game, GO_RIGHT, GO_LEFT)
        assert state(game, "rng") != before
        cells = state(game, "cells")
        assert sorted(cells) in ([left, middle], [middle, right])
        winners.append(cells.index(middle))
        place(game, cells=(left, right))
    assert 70 < sum(winners) < 130


def test_a_queue_moves_on_or_stands_still_together() -> None:
    game = kitchen(cooks=3)
    row = [cell(game, 2, column) for column in range(1, 6)]
    place(game, cells=(row[0], row[1], row[2]))
    act(game, GO_RIGHT, GO_RIGHT, GO_RIGHT)
    assert state(game, "cells") == (row[1], row[2], row[3])
    place(game, cells=(row[2], row[3], row[4]))
    act(game, GO_RIGHT, GO_RIGHT, GO_RIGHT)  # the first is at the wall
    assert state(game, "cells") == (row[2], row[3], row[4])


plays = st.tuples(
    st.sampled_from(LAYOUTS), st.integers(2, 3), st.integers(0, 2**63 - 1), st.lists(st.integers(0, 215), max_size=80)
)


@settings(max_examples=60, deadline=None)
@given(plays)
def test_what_holds_in_any_play(play: tuple[str, int, int, list[int]]) -> None:
    name, cooks, seed, joint = play
    game = kitchen(layout=name, cooks=cooks, cook_time=3)
    game.reset(seed)
    plan = game.layout
    made = {ONION: 0, DISH: 0, SOUP: 0}
    for code in joint:
        actions = [code // 6**cook % 6 for cook in range(cooks)]
        _, _, served, cells, _, held, counters, pots = game.save()
        outcome = act(game, *actions)
        _, _, served_now, cells_now, facing_now, held_now, counters_now, pots_now = game.save()
        assert len(set(cells_now)) == cooks
        assert all(plan.floor[at] for at in cells_now)
        assert {room: plan.room[c] for room, c in enumerate(cells)} == {
            room: plan.room[c] for room, c in enumerate(cells_now)
        }
        for cook, (was, now) in enumerate(zip(cells, cells_now, strict=True)):
            assert now == was or now - was == plan.steps[facing_now[cook]]
            assert now == was or actions[cook] in (GO_UP, GO_DOWN, GO_LEFT, GO_RIGHT)
            others = [c for c in range(cooks) if c != cook]
            assert not any(cells_now[c] == was and cells[c] == now and was != now for c in others)
        assert outcome.rewards == (float(served_now - served),) * cooks
        # Things only come out of boxes, racks and pots, and only go into pots and hatches.
        lying, lying_now = [*held, *counters], [*held_now, *counters_now]
        onions = sum(min(p, 3) for p in pots_now) - sum(min(p, 3) for p in pots)
        plated = sum("plated" in info for info in outcome.infos)
        potted = sum("potted" in info for info in outcome.infos)
        assert onions == potted - 3 * plated
        made[ONION] += lying_now.count(ONION) - lying.count(ONION) + potted
        made[DISH] += lying_now.count(DISH) - lying.count(DISH) + plated
        assert lying_now.count(SOUP) - lying.count(SOUP) == plated - (served_now - served)
        for was, now in zip(pots, pots_now, strict=True):
            assert now in (was, was + 1) or (now == 0 and was >= 5)
    assert min(made.values()) >= 0


def test_every_place_can_be_used_from_some_room() -> None:
    for name in LAYOUTS:
        plan = layout(name)
        edge = [at for at in range(len(plan.kinds)) if {*plan.position(at)} & {0}]
        edge += [at for at in range(len(plan.kinds)) if plan.position(at)[0] == plan.rows - 1]
        edge += [at for at in range(len(plan.kinds)) if plan.position(at)[1] == plan.columns - 1]
        assert not any(plan.floor[at] for at in edge)
        for kind in (ONIONS, POT, HATCH):
            assert plan.cells_of(kind)
            assert all(plan.rooms_beside[at] for at in plan.cells_of(kind))
        assert len({*plan.starts}) == 3
        assert all(plan.kinds[at] == FLOOR for at in plan.starts)
        rooms = {plan.room[at] for at in plan.cells_of(FLOOR)}
        assert len(rooms) == (2 if name == "pass" else 1)
        assert {plan.room[at] for at in plan.starts[:2]} == rooms
        shared = [at for at in plan.cells_of(COUNTER) if plan.rooms_beside[at] == rooms]
        assert shared


def test_the_seed_draws_who_starts_where() -> None:
    game = kitchen(cooks=3)
    starts, faces = set(), set()
    for seed in range(100):
        game.reset(seed)
        starts.add(state(game, "cells"))
        faces.update(state(game, "facing"))
    assert len(starts) == 6
    assert {frozenset(cells) for cells in starts} == {frozenset(game.layout.starts)}
    assert faces == {UP, DOWN, LEFT, RIGHT}


# -- the end -----------------------------------------------------------------------------------------------------


def _about_to_serve(game: Kitchen, **fields: Any) -> None:
    place(game, cells=(cell(game, 3, 2), cell(game, 1, 5)), facing=(DOWN, UP), held=(SOUP, NOTHING), **fields)


def test_the_last_order_terminates_also_in_the_last_frame() -> None:
    game = kitchen(orders=3, max_frames=50)
    _about_to_serve(game, served=1)
    assert not act(game, USE, STAY).terminal
    _about_to_serve(game, served=2, frame=49)
    last = act(game, USE, STAY)
    assert (last.terminated, last.truncated, last.terminal) == ((True, True), (False, False), True)
    assert last.rewards == (1.0, 1.0)


def test_time_truncates_and_keeps_the_reward() -> None:
    game = kitchen(max_frames=50)
    _about_to_serve(game, frame=48)
    assert not act(game, STAY, STAY).terminal
    last = act(game, USE, STAY)
    assert (last.terminated, last.truncated, last.terminal) == ((False, False), (True, True), True)
    assert (last.rewards, last.infos) == ((1.0, 1.0), ({"served": 1}, {}))


def test_without_a_limit_it_goes_on() -> None:
    game = kitchen(max_frames=None)
    place(game, frame=10**6)
    assert not act(game, STAY, STAY).terminal


# -- what is seen ------------------------------------------------------------------------------------------------


def test_each_cook_sees_itself_first() -> None:
    game = kitchen(cooks=3, cook_time=30)
    counters = [NOTHING] * len(game.layout.counters)
    counters[game.layout.index[cell(game, 0, 0)]] = SOUP
    counters[game.layout.index[cell(game, 4, 6)]] = ONION
    cells = (cell(game, 1, 1), cell(game, 2, 3), cell(game, 3, 5))
    place(
        game, cells=cells, facing=(UP, RIGHT, LEFT), held=(ONION, 0, SOUP), counters=tuple(counters), pots=(2, 13),
        served=4,
    )  # fmt: skip
    seen = game.observe()
    first, second, third = [1, 1, UP, ONION], [2, 3, RIGHT, NOTHING], [3, 5, LEFT, SOUP]
    assert seen[0]["cooks"].tolist() == [first, second, third]
    assert seen[1]["cooks"].tolist() == [second, third, first]
    assert seen[2]["cooks"].tolist() == [third, first, second]
    for agent in range(3):
        assert seen[agent]["pots"].tolist() == [[2, 0], [3, 20]]
        assert seen[agent]["served"].tolist() == [4]
        grid = seen[agent]["grid"]
        assert grid.tolist() == [[8, 1, 2, 1, 4, 1, 1], [1, *[0] * 5, 1], [3, *[0] * 5, 1], [1, *[0] * 5, 1],
                                 [1, 1, 5, 1, 1, 4, 6]]  # fmt: skip
        alone = game.observe_agents((agent,))
        assert len(alone) == 1
        for key, value in seen[agent].items():
            assert np.array_equal(value, alone[0][key])
            assert value.dtype == alone[0][key].dtype
    assert [s["cooks"].tolist()[0] for s in game.observe_agents((2, 0))] == [third, first]


def test_pictures_and_text_show_what_is_there() -> None:
    game = kitchen(cooks=3, cook_time=10)
    pictures = [game.render()]
    assert pictures[0].shape == (5 * 48, 7 * 48, 3)
    assert game.render(scale=1).shape == (5 * 24, 7 * 24, 3)
    for fields in (
        {"held": (ONION, 0, 0)},
        {"held": (DISH, 0, 0)},
        {"held": (SOUP, 0, 0)},
        {"facing": tuple((face + 1) % 4 for face in state(game, "facing"))},
        {"pots": (2, 0)},
        {"pots": (5, 0)},
        {"pots": (13, 0)},
        {"counters": (DISH, *[0] * (len(game.layout.counters) - 1))},
    ):
        place(game, **fields)
        pictures.append(game.render())
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    with pytest.raises(ValueError, match="scale = 0"):
        game.render(0)
    text = game.render_text()
    assert "▒u" in text
    assert "pot 0: ready" in text
    assert "P*" in text
    assert "0 cook_0: a soup" in text
    for pots, words in (((1, 5), ("pot 0: 1 of 3", "pot 1: cooks, 2 of 10", "P1", "P~")),):
        place(game, pots=pots)
        assert all(word in game.render_text() for word in words)


# -- bytes and parameters ----------------------------------------------------------------------------------------


def test_every_part_of_the_state_is_in_its_bytes() -> None:
    game = kitchen(cooks=3)
    snapshot: Any = game.save()
    found = {game.state_bytes(snapshot)}
    changes = 0
    for at, value in enumerate(snapshot):
        for inside in range(len(value) if isinstance(value, tuple) else 1):
            changed = (
                value + 1 if isinstance(value, int) else (*value[:inside], value[inside] + 1, *value[inside + 1 :])
            )
            found.add(game.state_bytes((*snapshot[:at], changed, *snapshot[at + 1 :])))
            changes += 1
    assert len(found) == changes + 1
    assert changes == 3 + 9 + len(game.layout.counters) + len(game.layout.pots)


def test_version_1_is_what_it_was() -> None:
    """An episode of version 1 that is stored somewhere must still verify: a change of the rules needs a version 2."""
    game = make("kitchen", {"layout": "banquet", "cooks": 3, "cook_time": 20})
    assert game.spec.version == "1"
    game.reset(2026)
    bots = [make_policy("cook", game.spec, cook, cook + 1, pace=1) for cook in range(3)]
    reward = 0.0
    for frame in range(400):
        seen = game.observe()
        actions = [bot.act(observation, frame) for bot, observation in zip(bots, seen, strict=True)]
        reward += game.step(tuple(bytes([action]) for action in actions)).rewards[0]
    assert (reward, f"{game.digest(game.save()):016x}") == PINNED


PINNED = (11.0, "186976065d168c2c")


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"layout": "cellar"}, r"kitchen\.layout = 'cellar': expected one of studio, island, pass, banquet"),
        ({"cooks": 4}, r"kitchen\.cooks = 4: expected an integer 2\.\.3"),
        ({"cook_time": 0}, r"kitchen\.cook_time = 0: expected an integer 1\.\.10000"),
        ({"orders": 0}, r"kitchen\.orders = 0: expected an integer 1\.\.10000 or None"),
        ({"max_frames": 0}, r"kitchen\.max_frames = 0"),
        ({"burn": True}, r"kitchen\.burn = True: expected a parameter named layout, cooks"),
    ],
)
def test_other_parameters_are_refused(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(GameError, match=text):
        make("kitchen", parameters)


# -- the bot -----------------------------------------------------------------------------------------------------

# Soups that cooks of seeds 1.. bring out in 450 frames at the least; a random player brings out none.
ENOUGH = {"studio": 6, "island": 2, "pass": 2, "banquet": 6}


@pytest.mark.parametrize("cooks", [2, 3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_cooks_serve_in_every_kitchen(name: str, cooks: int) -> None:
    for policy, parameters, low, high in (
        ("cook", {"pace": 1}, ENOUGH[name], 450),
        ("cook", {}, ENOUGH[name] // 4, ENOUGH[name]),
        ("random", {}, 0, 0),
    ):
        game = kitchen(layout=name, cooks=cooks, max_frames=450)
        game.reset(4)
        bots = [make_policy(policy, game.spec, cook, cook + 1, **parameters) for cook in range(cooks)]
        outcome = None
        for frame in range(450):
            actions = [bot.act(seen, frame) for bot, seen in zip(bots, game.observe(), strict=True)]
            outcome = act(game, *actions)
        assert outcome is not None
        assert outcome.terminal
        assert low <= state(game, "served") <= high


def test_a_cook_in_the_other_room_passes_on_what_it_cannot_bring() -> None:
    game = kitchen(layout="pass", cooks=2)
    plan = game.layout
    left = next(cook for cook, at in enumerate(state(game, "cells")) if plan.room[at] == plan.room[plan.starts[0]])
    bot = make_policy("cook", game.spec, left, 1, slip=0, pace=1)
    for frame in range(60):
        actions = [STAY, STAY]
        actions[left] = bot.act(game.observe()[left], frame)
        act(game, *actions)
    lying = {at: item for at, item in zip(plan.counters, state(game, "counters"), strict=True) if item}
    # Exactly what two pots take, and where the other cook can reach it: the column has three counters.
    assert set(lying.values()) == {ONION}
    assert all(len(plan.rooms_beside[at]) == 2 for at in lying)
    assert len(lying) == 3


def test_a_cook_is_a_function_of_what_it_sees_and_when() -> None:
    game = kitchen()
    seen = game.observe()[0]
    one, other = (make_policy("cook", game.spec, 0, 5, pace=1) for _ in range(2))
    for bot in (one, other):
        bot.reset(9)
    actions = [one.act(seen, frame) for frame in range(50)]
    assert [other.act(seen, frame) for frame in reversed(range(50))] == actions[::-1]
    assert len(set(actions)) > 1
    other.reset(10)
    assert [other.act(seen, frame) for frame in range(50)] != actions


def test_slips_are_moves() -> None:
    game = kitchen()
    bot = make_policy("cook", game.spec, 0, 5, slip=100, pace=1)
    assert isinstance(bot, CookPolicy)
    actions = [bot.act(game.observe()[0], frame) for frame in range(200)]
    assert set(actions) == {GO_UP, GO_DOWN, GO_LEFT, GO_RIGHT}


def test_a_cook_with_a_pace_above_the_input_delay_is_not_confused_by_it() -> None:
    served = {}
    for pace, delay in ((4, 0), (4, 3), (1, 0), (1, 3)):
        game = kitchen(max_frames=None, cook_time=20)
        bots = [make_policy("cook", game.spec, cook, cook + 1, pace=pace) for cook in range(2)]
        waiting = [[STAY, STAY]] * delay
        for frame in range(900):
            waiting.append([bot.act(seen, frame) for bot, seen in zip(bots, game.observe(), strict=True)])
            act(game, *waiting.pop(0))
        served[pace, delay] = state(game, "served")
    assert served[4, 3] >= 4
    assert abs(served[4, 3] - served[4, 0]) <= 2
    assert served[1, 3] < served[1, 0] // 3


def test_a_cook_acts_at_its_pace() -> None:
    game = kitchen(cooks=3)
    bots = [make_policy("cook", game.spec, cook, 1, slip=100, pace=5) for cook in range(3)]
    for frame in range(40):
        actions = [bot.act(seen, frame) for bot, seen in zip(bots, game.observe(), strict=True)]
        assert [action != STAY for action in actions] == [(frame + cook) % 5 == 0 for cook in range(3)]


def test_a_cook_cooks_only() -> None:
    with pytest.raises(GameError, match="cook plays kitchen only"):
        make_policy("cook", make("pong").spec, 0, 1)
