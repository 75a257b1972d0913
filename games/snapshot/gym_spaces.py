"""How spaces are saved, and the generators they sample from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from rollgym.games.snapshot.kinds import Kind, Leaves, Writer


class Undrawn:
    """In place of the generator of a space that nobody has sampled from since the reset.

    It becomes a generator at the first draw, with a seed that was settled at the reset. Until then it is no part of
    the state and costs nothing.
    """

    __slots__ = ("_seed", "_space")

    def __init__(self, space: spaces.Space[Any], seed: tuple[int, ...]) -> None:
        self._space = space
        self._seed = seed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        present: Any = self._space._np_random
        if present is None or present is self:
            present = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._seed)))
            self._space._np_random = present
        return getattr(present, name)


def seed_spaces(found: list[spaces.Space[Any]], seed: int) -> None:
    """Settle what sampling from spaces gives from now on. Each draws from a stream of its own."""
    for number, space in enumerate(found):
        stand_in: Any = Undrawn(space, (seed, number))
        space._np_random = stand_in


class SpaceKind(Kind):
    """A gymnasium space. It is constant but for the generator that ``sample`` draws from."""

    def take(self, item: Any, todo: list[Any], leaves: Leaves) -> Any:
        todo += [part for _, part in self.parts(item, None)]
        return (item._np_random,)

    def put(self, item: Any, content: Any) -> None:
        item._np_random = content[0]

    def write(self, item: Any, content: Any, writer: Writer) -> list[Any]:
        return [type(item).__qualname__, *(writer.ref(part) for _, part in self.parts(item, content))]

    def parts(self, item: Any, content: Any) -> Iterator[tuple[str, Any]]:
        drawn = item._np_random if content is None else content[0]
        if drawn is not None and type(drawn) is not Undrawn:
            yield "._np_random", drawn
        for name, held in vars(item).items():
            if isinstance(held, spaces.Space):
                yield f".{name}", held
            elif name == "spaces":
                pairs = held.items() if isinstance(held, Mapping) else enumerate(held)
                yield from ((f"[{key!r}]", part) for key, part in pairs if isinstance(part, spaces.Space))
