"""Where an episode comes from, as one plain structure: what the header says, what the server says, who played."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from rollgym.protocol.files.parquet import Layout, OwnLayout

JSON_KEYS = (
    *("match_number", "mismatch", "received", "digests", "statuses", "played", "bots"),
    *("client_software", "server_software"),
)
"""Keys of a file's ``rollgym.extra`` whose text is JSON."""
NUMBER_KEYS = ("match_created", "judged")
"""Those whose text is a number: Unix seconds."""


def provenance(layout: Layout, own: Iterable[OwnLayout] = ()) -> dict[str, Any]:
    """Plain values. ``own``: of players' own parts that lie in other files. docs/dataset.md has the keys."""
    parts = [*own] if layout.own is None else [layout.own]
    header = msgspec.to_builtins(layout.header)
    players = layout.header.game.players
    return {
        **header,
        **{key: _plain(key, text) for key, text in layout.extra.items()},
        "players": {
            players[part.player]: {
                "player": part.player,
                "policy": part.policy,
                "software": part.software,
                "started_at": part.started_at,
                "ended_at": part.ended_at,
                "stats": part.stats,
            }
            for part in sorted(parts, key=lambda part: part.player)
        },
    }


def _plain(key: str, text: str) -> Any:
    if key in NUMBER_KEYS:
        return float(text)
    if key in JSON_KEYS:
        return json.loads(text) if text else None
    return text
