"""Parts of an environment that are said never to change: no snapshot holds them, and every reset makes sure of it."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.games.errors import GameError, Unsafe
from rollgym.games.snapshot.graph_bytes import GraphSnapshot
from rollgym.games.snapshot.object_graph import Copier, differing


class Constants:
    """What hangs at ``paths``, such as ``env.planner``, without what hangs elsewhere as well."""

    def __init__(self, copier: Copier, paths: Sequence[str]) -> None:
        """Raises :class:`~rollgym.games.errors.GameError` for a path at which there is nothing to leave out, and
        :class:`~rollgym.games.errors.Unsafe` for what cannot be looked into: nobody could say whether it changes."""
        found = {path: item for path, _, item in copier.tree(copier.save())}
        for path in paths:
            if path not in found:
                some = ", ".join([name for name in found if name.count(".") == 1][:8])
                raise GameError("adapter.constant", path, f"the path of an object that may change, such as {some}")
        items = [found[path] for path in paths]
        self._paths = list(paths)
        copier.leave_out(zip(items, range(len(items)), strict=True))
        self._copier = Copier(items)
        self._copier.leave_out((item, -1) for item, _, _ in copier.save().records)
        self._first = self._copier.save()
        self._bytes = self._copier.state_bytes(self._first)

    def verify(self) -> None:
        """Raises :class:`~rollgym.games.errors.Unsafe`, with the path of what has changed."""
        now = self._copier.save()
        if self._copier.state_bytes(now) != self._bytes:
            raise Unsafe(
                self._changed(now), "said to be constant, and has changed", "to be left out of adapter.constant"
            )

    def _changed(self, now: GraphSnapshot) -> str:
        first, again = self._copier.fields(self._first), self._copier.fields(now)
        for place, _, _ in differing(first, again):
            number, _, inside = place[1:].partition("]")
            return self._paths[int(number)] + inside
        return ", ".join(self._paths)
