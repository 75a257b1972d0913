"""What the exports of an episode come to: parity among them, and the audit by re-simulation. No files, no catalogue.

========  ==========================================================================================================
verified  every player's export is there, they say the same, the episode is complete, and the replay agrees
diverged  two exports differ in a frame that both have, or the replay gives something else; all versions are kept
single    one player's export only; the replay agrees with it. The detail says whether it is complete or a prefix
partial   the exports agree as far as they go and the replay agrees, but the episode was not played to its end
========  ==========================================================================================================
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rollgym.games.contract import Game
from rollgym.games.record.audit import audit
from rollgym.games.record.columns import prefix
from rollgym.protocol.episode.export import Export, Header
from rollgym.protocol.episode.parity import Mismatch, compare_episodes
from rollgym.protocol.messages import first_difference


class Finding(NamedTuple):
    """A verdict before it is stored."""

    verdict: str
    detail: str
    mismatch: Mismatch | None
    canonical: tuple[Export, ...]
    """Whose canonical part is stored: one export unless they diverged."""


def find(exports: list[Export], players: int, game: Game) -> Finding:
    """The verdict on the exports of one episode. ``game`` is the server's own, without a frame limit."""
    longest = max(exports, key=lambda export: (export.header.frames, export.header.status == "complete"))
    for export in exports:
        if export is not longest:
            mismatch = common_difference(longest, export)
            if mismatch is not None:
                pair = f"players {longest.own.player} and {export.own.player}"
                return Finding("diverged", f"{pair}: {mismatch}"[:1024], mismatch, tuple(exports))
    mismatch = audit(longest, game)
    if mismatch is not None:
        return Finding("diverged", f"replay: {mismatch}"[:1024], mismatch, tuple(exports))
    complete = all(export.header.status == "complete" for export in exports)
    if len(exports) < players:
        missing = sorted(set(range(players)) - {export.own.player for export in exports})
        verdict = "single" if len(exports) == 1 else "partial"
        return Finding(
            verdict, f"nothing from player {', '.join(map(str, missing))}; {_extent(longest)}", None, (longest,)
        )
    if complete:
        return Finding("verified", "", None, (longest,))
    endings = ", ".join(f"player {e.own.player}: {e.header.status} at {e.header.frames} frames" for e in exports)
    return Finding("partial", endings, None, (longest,))


def _extent(export: Export) -> str:
    """Whether an export holds its whole episode."""
    header, player = export.header, export.own.player
    if header.status == "complete":
        return f"player {player} has the complete episode, {header.frames} frames"
    return f"player {player} has a prefix, {header.frames} frames: {header.status}"


def common_difference(first: Export, second: Export) -> Mismatch | None:
    """The first difference in the frames that both have; their length and status only count if both are complete."""
    if first.header == second.header:
        return compare_episodes((first.header, first.canonical), (second.header, second.canonical))
    statuses = {first.header.status, second.header.status}
    if statuses == {"complete"}:
        return compare_episodes((first.header, first.canonical), (second.header, second.canonical))
    frames = min(first.header.frames, second.header.frames)
    found = compare_episodes(
        (first.header, prefix(first.canonical, frames)), (second.header, prefix(second.canonical, frames)), header=False
    )
    if found is not None:
        return found
    change = first_difference(_fixed(first.header), _fixed(second.header))
    return None if change is None else Mismatch(None, change.field, repr(change.first), repr(change.second))


def _fixed(header: Header) -> list[Any]:
    """A header without what a peer that stopped early rightly says otherwise."""
    return [header.match, header.episode, header.match_seed, header.seed, header.game, header.settings]
