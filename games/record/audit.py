"""The audit of an episode: played again from its seed and inputs, and compared with what was recorded."""

from __future__ import annotations

from rollgym.games.contract import Game
from rollgym.games.frame_limit import limited
from rollgym.games.identity import identity
from rollgym.games.record.columns import prefix
from rollgym.games.record.replay import ReplayError, replay
from rollgym.protocol.episode.export import Canonical, Export, Header, canonical_layout
from rollgym.protocol.episode.parity import Mismatch, compare_episodes
from rollgym.protocol.messages import first_difference


def audit(export: Export, game: Game) -> Mismatch | None:
    """Re-simulate an export from its seed and inputs; the first difference. ``first`` is what the export says.

    The shape of the columns is compared before anything is played: what is re-simulated is then never larger than
    what was uploaded.
    """
    header, canonical = export.header, export.canonical
    change = first_difference(identity(game.spec), header.game)
    if change is not None:
        return Mismatch(None, f"game.{change.field}", repr(change.second), repr(change.first))
    game = limited(game, header.settings.frame_limit)
    empty = Header(
        header.match,
        header.episode,
        header.match_seed,
        header.seed,
        header.game,
        header.settings,
        header.participants,
        0,
        "aborted",
    )
    try:
        shape = replay(empty, prefix(canonical, 0), game)
        found = _layout_difference(header, canonical, shape)
        if found is not None:
            return found
        played = replay(header, canonical, game)
    except ReplayError as error:
        return Mismatch(None, error.field, str(error), "")
    return compare_episodes((header, canonical), (header, played), header=False)


def _layout_difference(header: Header, canonical: Canonical, shape: Canonical) -> Mismatch | None:
    for name in sorted({*canonical.columns, *shape.columns, *canonical_layout(header)}):
        if name not in canonical.columns or name not in shape.columns:
            have = [str(name in side.columns) for side in (canonical, shape)]
            return Mismatch(None, f"columns.{name}", have[0], have[1])
        one, two = canonical.columns[name], shape.columns[name]
        if one.dtype != two.dtype or one.shape[1:] != two.shape[1:]:
            return Mismatch(None, f"columns.{name}", f"{one.dtype}{one.shape[1:]}", f"{two.dtype}{two.shape[1:]}")
    return None
