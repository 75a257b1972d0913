"""What ``copy.deepcopy`` makes of a game's environment: ``python -m benchmarks.naive_copy GAME``, one game a process.

A process of its own, because some environments do not survive it. Prints JSON: microseconds of a copy, and whether the
copy goes on as the original does.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from typing import Any

from rollgym.games.adapters.adapted import AdaptedGame
from rollgym.games.adapters.family import ABSENT
from rollgym.games.canonical_bytes import plain_bytes
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.registry import make

WARM_UP, COMPARED = 5, 10


def naive(game_id: str) -> dict[str, Any]:
    """Play a little, copy, and play on with both."""
    game = make(game_id)
    assert isinstance(game, AdaptedGame)
    bots = [make_policy("random", game.spec, player, player + 1) for player in range(game.spec.players)]
    actions = [[bot.act(None, frame) for bot in bots] for frame in range(WARM_UP + COMPARED)]
    game.reset(3)
    family = game._family
    for joint in actions[:WARM_UP]:
        family.step(joint)
    copied = copy.deepcopy(family)
    done, began = 0, time.process_time()
    while done < 3 or (done < 50 and time.process_time() - began < 0.1):
        copy.deepcopy(family)
        done += 1
    cost = (time.process_time() - began) / done * 1e6
    try:
        exact = all(_shown(family.step(joint)) == _shown(copied.step(joint)) for joint in actions[WARM_UP:])
    except AttributeError:
        exact = False  # it was not even reset
    return {"microseconds": cost, "exact": exact}


def _shown(turn: Any) -> bytes:
    given = (turn.observations, turn.rewards, turn.terminated, turn.truncated)
    return plain_bytes([[None if part is ABSENT else part for part in parts] for parts in given])


if __name__ == "__main__":
    print(f"\n{json.dumps(naive(sys.argv[1]))}")
