"""What is known of a game besides what it gives: how its state is saved, and how much of it there is."""

from __future__ import annotations

from typing import Any

from rollgym.checking.process_side_effects import chain, wrapped
from rollgym.games.contract import Game

OBJECTS_AT_EVERY_FRAME = 500
"""A state of so many objects is rolled back at every frame, one of twice as many at every second one."""

ROLLBACKS_BY_REPLAY = 25
"""Places at which a game is rolled back whose every load plays the episode again."""

_LEVELS = 8
# How deep a path is that is named.


class Evidence:
    """What can be seen from outside."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self._adapted = wrapped(game, lambda at: hasattr(at, "state_method"))
        self._pickled = wrapped(game, lambda at: any("zPickle" in base.__name__ for base in type(at).__mro__))
        self._env = wrapped(game, lambda at: hasattr(at, "action_space") or hasattr(at, "possible_agents"))

    @property
    def method(self) -> str:
        """How the state is saved."""
        return "own" if self._adapted is None else str(self._adapted.state_method.name)

    @property
    def environment(self) -> str:
        """The class to talk about."""
        return "the game" if self._env is None else type(self._env).__qualname__

    @property
    def innermost(self) -> Any:
        """The environment without wrappers, None for a game of its own kind."""
        return None if self._env is None else [*chain(self._env)][-1]

    @property
    def pickled(self) -> bool:
        """Whether copies of the environment are made by its constructor."""
        return self._pickled is not None

    def noticed(self, name: str) -> list[str]:
        """What the adapter noticed under this name, such as ``unrecorded``."""
        return sorted(getattr(self._adapted, name, ()))

    @property
    def objects(self) -> int:
        """How many objects a snapshot holds at present; 0 if it is not made of objects."""
        if self._adapted is None:
            return 0
        return len(getattr(self._adapted.state_method.save(), "records", ()))

    def stride(self, frames: int) -> int:
        """Frames from one place at which it is rolled back to the next."""
        if self.method == "replay":
            return max(1, frames // ROLLBACKS_BY_REPLAY)
        return max(1, self.objects // OBJECTS_AT_EVERY_FRAME)

    def largest(self, most: int = 3) -> list[tuple[str, int]]:
        """The paths that hold most of the objects, with their numbers: as deep as one holds nearly all."""
        copier = getattr(getattr(self._adapted, "state_method", None), "copier", None)
        if copier is None:
            return []
        nodes = copier.tree(copier.save())
        sizes = [1] * len(nodes)
        for number in range(len(nodes) - 1, 0, -1):
            sizes[nodes[number][1]] += sizes[number]
        held: dict[int, list[int]] = {}
        for number, (_, holder, _) in enumerate(nodes):
            held.setdefault(holder, []).append(number)
        at = 0
        for left in reversed(range(_LEVELS)):  # the path down a list that is linked has no end that helps anybody
            inside = sorted(held.get(at, ()), key=lambda number: -sizes[number])
            if not left or not inside or sizes[inside[0]] < sizes[at] * 0.8:
                break
            at = inside[0]
        named = inside[:most] if inside and sizes[inside[0]] > sizes[at] * 0.1 else [at]
        return [(nodes[number][0], sizes[number]) for number in named]
