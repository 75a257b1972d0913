"""Counters of many episodes, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_SUMS = (
    "frames",
    "confirmed_frames",
    "ticks",
    "stalls",
    "rollbacks",
    "resimulated_frames",
    "checksums_compared",
    "checksums_matched",
    "seconds",
)


def totals(stats: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums, maxima and the shares that follow from them, of the ``own.stats`` of episodes of one peer."""
    stats = list(stats)
    found: dict[str, Any] = {name: sum(item.get(name, 0) for item in stats) for name in _SUMS}
    depths: dict[int, int] = {}
    for item in stats:
        for depth, times in item.get("rollback_depth_histogram", {}).items():
            depths[int(depth)] = depths.get(int(depth), 0) + times
    found["rollback_depth_max"] = max(depths, default=0)
    found["rollback_depth_histogram"] = {str(depth): depths[depth] for depth in sorted(depths)}
    return with_shares(found)


def together(peers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The :func:`totals` of several peers as one. Frames and seconds are the match's, so the most any peer has."""
    peers = list(peers)
    found = totals(peers)
    simulated = found["frames"]
    for name in ("frames", "confirmed_frames", "seconds"):
        found[name] = max((peer[name] for peer in peers), default=0)
    found = with_shares(found)
    found["resimulated_per_frame"] = found["resimulated_frames"] / simulated if simulated else 0.0
    return found


def with_shares(found: dict[str, Any]) -> dict[str, Any]:
    """The same, with what follows from the counts."""
    return {
        **found,
        "stall_share": found["stalls"] / found["ticks"] if found["ticks"] else 0.0,
        "fps": found["confirmed_frames"] / found["seconds"] if found["seconds"] else 0.0,
        "resimulated_per_frame": found["resimulated_frames"] / found["frames"] if found["frames"] else 0.0,
    }
