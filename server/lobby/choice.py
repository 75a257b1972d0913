"""Which of a server's experiments a client joins. A rule is a function, and is named in :data:`RULES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollgym.protocol.messages import Join, first_difference
from rollgym.server.errors import RefusedError
from rollgym.server.lobby.desk import Desk

Rule = Callable[[Sequence[Desk], Join], Desk]
"""The desk at which a client will wait. Raises :class:`RefusedError` if there is none for it."""


def by_game(desks: Sequence[Desk], join: Join) -> Desk:
    """The first experiment of the client's game that wants more matches; of several, the least played.

    With one experiment the refusal names the first field of its game that differs.
    """
    fitting = [desk for desk in desks if first_difference(desk.experiment.game, join.game) is None]
    if not fitting:
        raise _another_game(desks, join)
    open_ones = [desk for desk in fitting if not desk.experiment.series.done]
    if not open_ones:
        raise RefusedError(503, "no_more_matches", "the experiment has all the matches it asked for")
    return min(open_ones, key=lambda desk: (not desk.experiment.series.room, desk.experiment.series.begun))


RULES: dict[str, Rule] = {"by_game": by_game}


def _another_game(desks: Sequence[Desk], join: Join) -> RefusedError:
    nearest = next((desk for desk in desks if desk.experiment.game.id == join.game.id), desks[0])
    difference = first_difference(nearest.experiment.game, join.game)
    assert difference is not None
    return RefusedError(
        409,
        "game_mismatch",
        f"game.{difference.field}: this server plays something else",
        field=f"game.{difference.field}",
        expected=difference.first,
        actual=difference.second,
    )
