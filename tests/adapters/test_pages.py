"""The pages of the shelf's games say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollgym.games.env_catalogue.catalogue import SHELF
from rollgym.games.registry import make

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("game_id", SHELF)
def test_every_game_of_the_shelf_has_a_true_page(game_id: str) -> None:
    page = (DOCS / "games" / f"{game_id}.md").read_text(encoding="utf-8")
    game = make(game_id)
    spec = game.spec
    game.close()
    assert f"| Id | `{game_id}` |" in page
    assert f"| Agents | {', '.join(f'`{agent}`' for agent in spec.agents)} |" in page
    assert f"`{spec.action_spaces[0]}`" in page
    assert f"| Frames per second | {spec.fps} |" in page
    assert f"rollgym[{SHELF[game_id].extra}]" in page
    for parameter in SHELF[game_id].parameters:
        assert f"| `{parameter.name}` | " in page
        assert parameter.summary in page
    for heading in ("Action space", "Observation space", "Rewards", "Infos", "Episode end", "Parameters"):
        assert f"\n## {heading}\n" in page
    assert (f"({game_id}.png)" in page) == (DOCS / "games" / f"{game_id}.png").is_file()


def test_the_lists_name_every_game_of_the_shelf() -> None:
    listed = (DOCS / "games" / "README.md").read_text(encoding="utf-8")
    table = (DOCS / "environments.md").read_text(encoding="utf-8")
    for game_id, entry in SHELF.items():
        assert f"| `{game_id}` | {entry.summary} | `rollgym[{entry.extra}]` | [{game_id}]({game_id}.md) |" in listed
        assert f"`{game_id}`" in table
