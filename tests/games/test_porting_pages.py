"""The pages of drift and Pong are enough to port the games: every figure on them is what the code gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rollgym.games.builtin.drift.rules import HIT_DISTANCE, SIZE, Drift, benchmark_input, fnv1a_64
from rollgym.games.builtin.pong.rules import FIELDS, HEIGHT, PADDLE_FACE, SPIN, WIDTH, WOBBLE, Pong
from rollgym.games.builtin.xorshift import start_rng
from rollgym.games.contract import Game
from rollgym.games.identity import identity
from rollgym.protocol.messages import GameIdentity, first_difference, parse

PAGES = Path(__file__).parents[2] / "docs" / "games"
DRIFT = (PAGES / "drift.md").read_text(encoding="utf-8")
PONG = (PAGES / "pong.md").read_text(encoding="utf-8")


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line is ``head``."""
    lines = page[page.index(head) :].splitlines()[2:]
    end = next(at for at, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


@pytest.mark.parametrize(("page", "game"), [(DRIFT, Drift()), (PONG, Pong())], ids=["drift", "pong"])
def test_the_identity_is_whole(page: str, game: Game) -> None:
    found = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert found is not None
    said = parse(GameIdentity, json.loads(found[1]))
    assert first_difference(said, identity(game.spec)) is None


def test_seeds() -> None:
    table = rows(DRIFT, "| seed | `rng` at the start |")
    assert len(table) >= 4
    assert {int(seed): rng for seed, rng in table} == {int(seed): f"{start_rng(int(seed)):08x}" for seed, _ in table}


def test_the_state_bytes_of_drift() -> None:
    game = Drift()
    game.reset(0)
    state = game.save()
    for name, value in (("state", game.state_bytes(state).hex()), ("digest", f"{game.digest(state):016x}")):
        found = re.search(rf"^drift-{name} +(\w+)$", DRIFT, re.MULTILINE)
        assert found is not None
        assert found[1] == value
    assert f"{len(game.state_bytes(state))} bytes" in DRIFT
    assert game.checksum() == fnv1a_64(game.state_bytes(state))


def test_drift_touches_below_the_distance_and_not_at_it() -> None:
    assert f"(x0 - x1)^2 + (y0 - y1)^2 < {HIT_DISTANCE**2}" in DRIFT
    assert f"`x > {SIZE - 1}` becomes\n   `{2 * (SIZE - 1)} - x`" in DRIFT
    game = Drift()
    for apart, touching in ((HIT_DISTANCE, 0), (HIT_DISTANCE - 1, 1)):
        game.load((0, 1, 0, 100, 100, 0, 0, 0, 100 + apart, 100, 0, 0, 0))
        game.step((b"\0", b"\0"))
        assert game.save()[2] == touching


def test_drift_draws_after_the_moves() -> None:
    """Who scores follows from the new ``rng``, and both rewards of one frame add up."""
    game = Drift()
    for _, rng in rows(DRIFT, "| seed | `rng` at the start |"):
        value = int(rng, 16)
        for _ in range(200):
            game.load((0, value, 0, 100, 100, 0, 0, 0, 100, 100, 0, 0, 0))
            rewards = game.step((b"\0", b"\0")).rewards
            value ^= value << 13 & 0xFFFFFFFF
            value ^= value >> 17
            value ^= value << 5 & 0xFFFFFFFF
            scorer = None if value & 31 else value >> 8 & 1
            assert rewards == tuple(0.25 + (scorer == player) for player in (0, 1))
            assert game.save()[1] == value
    assert "1.25" in DRIFT


def test_pong_as_the_page_says_it() -> None:
    """The page's rules, written once more from its text, give the game's states; and its table is right."""
    for name in FIELDS:
        assert f"`{name}`" in PONG
    table = {int(row[0]): row[1:] for row in rows(PONG, "| frames | digest | ball |")}
    game = Pong()
    game.reset(7)
    state = dict(zip(FIELDS, game.save(), strict=True))
    frame = 0
    for frame in range(10_000):
        here = game.save()
        assert tuple(state.values()) == here
        if frame in table:
            assert table.pop(frame) == _row(game)
        inputs = [benchmark_input(player, frame) % 3 for player in (0, 1)]
        _frame_of_the_page(state, inputs)
        if game.step((bytes([inputs[0]]), bytes([inputs[1]]))).terminal:
            break
    assert tuple(state.values()) == game.save()
    assert f"Left wins 5 to 3 with frame {frame}." in PONG
    assert (state["score0"], state["score1"]) == (5, 3)
    assert table.pop(frame + 1) == _row(game)
    assert table == {}


def test_pong_with_other_parameters_as_the_page_says_it() -> None:
    """Clamped paddles, walls, a truncated end, and the highest speed."""
    p = {"paddle_height": 500, "paddle_speed": 40, "ball_size": 40, "ball_speed": 20, "max_ball_speed": 30}
    game = Pong(points=99, serve_delay=3, **p)
    seen: set[int | str] = set()
    for seed in (0, 1, 2):
        game.reset(seed)
        state = dict(zip(FIELDS, game.save(), strict=True))
        for frame in range(1500):
            inputs = [benchmark_input(player, frame // 20) % 3 for player in (0, 1)]
            _frame_of_the_page(state, inputs, {**p, "points": 99, "serve_delay": 3})
            game.step((bytes([inputs[0]]), bytes([inputs[1]])))
            assert tuple(state.values()) == game.save()
            seen.add(abs(state["ball_vx"]))
            seen.add(f"paddle {state['paddle0']}")
    assert {20, 30, "paddle 250", f"paddle {HEIGHT - 250}"} <= seen


def _row(game: Pong) -> list[str]:
    state = game.save()
    _, _, x, y, vx, vy, paddle0, paddle1, score0, score1, rally, serve_in = state
    pairs = [f"{x}, {y}", f"{vx}, {vy}", f"{paddle0}, {paddle1}", f"{score0}, {score1}", f"{rally}", f"{serve_in}"]
    return [f"{game.digest(state):016x}", *pairs]


DEFAULTS = {"points": 5, "paddle_height": 128, "paddle_speed": 10, "ball_size": 24, "ball_speed": 11}
DEFAULTS |= {"max_ball_speed": 26, "serve_delay": 40}


def _frame_of_the_page(s: dict[str, int], inputs: list[int], p: dict[str, int] = DEFAULTS) -> None:
    """The seven points under "Exactly", with the page's own numbers."""
    half, radius = p["paddle_height"] // 2, p["ball_size"] // 2
    s["frame"] += 1
    for player in (0, 1):
        moved = s[f"paddle{player}"] + (0, -1, 1)[inputs[player]] * p["paddle_speed"]
        s[f"paddle{player}"] = min(max(moved, half), 768 - half)
    if s["serve_in"]:
        s["serve_in"] -= 1
        if s["serve_in"] == 0:
            _draw(s)
            steepest = p["ball_speed"] * 3 // 4
            s["ball_vx"] = p["ball_speed"] if s["rng"] & 64 else -p["ball_speed"]
            s["ball_vy"] = (s["rng"] >> 8) % (2 * steepest + 1) - steepest
        return
    before = s["ball_x"]
    s["ball_x"] += s["ball_vx"]
    s["ball_y"] += s["ball_vy"]
    if s["ball_y"] < radius:
        s["ball_y"], s["ball_vy"] = 2 * radius - s["ball_y"], -s["ball_vy"]
    elif s["ball_y"] > 768 - radius:
        s["ball_y"], s["ball_vy"] = 2 * (768 - radius) - s["ball_y"], -s["ball_vy"]
    near, scorer = 48 + radius, None
    offsets = [s["ball_y"] - s["paddle0"], s["ball_y"] - s["paddle1"]]
    meets = [abs(offset) <= half + radius for offset in offsets]
    if s["ball_x"] <= near:
        if before > near and meets[0]:
            _hit(s, 0, offsets[0], inputs[0], p)
            s["ball_x"] = 2 * near - s["ball_x"]
        elif s["ball_x"] < -radius:
            scorer = 1
    elif s["ball_x"] >= 1024 - near:
        if before < 1024 - near and meets[1]:
            _hit(s, 1, offsets[1], inputs[1], p)
            s["ball_x"] = 2 * (1024 - near) - s["ball_x"]
        elif s["ball_x"] > 1024 + radius:
            scorer = 0
    if scorer is not None:
        s[f"score{scorer}"] += 1
        s |= {"ball_x": 512, "ball_y": 384, "ball_vx": 0, "ball_vy": 0, "rally": 0}
        s["serve_in"] = 0 if s[f"score{scorer}"] >= p["points"] else p["serve_delay"]


def _draw(s: dict[str, int]) -> None:
    s["rng"] ^= s["rng"] << 13 & 0xFFFFFFFF
    s["rng"] ^= s["rng"] >> 17
    s["rng"] ^= s["rng"] << 5 & 0xFFFFFFFF


def _hit(s: dict[str, int], player: int, offset: int, button: int, p: dict[str, int]) -> None:
    s["rally"] += 1
    speed = min(p["ball_speed"] + s["rally"], p["max_ball_speed"])
    s["ball_vx"] = speed if player == 0 else -speed
    _draw(s)
    reach = p["paddle_height"] // 2 + p["ball_size"] // 2
    toward_0 = abs(offset) * speed // reach * (1 if offset >= 0 else -1)
    s["ball_vy"] = toward_0 + (0, -2, 2)[button] + (s["rng"] >> 8) % 5 - 2


def test_the_numbers_of_pong_are_the_pages() -> None:
    assert (WIDTH, HEIGHT, PADDLE_FACE, SPIN, WOBBLE) == (1024, 768, 48, 2, 2)
