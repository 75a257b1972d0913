"""What is exported and what is left out: known from metadata, before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from protocol.parquet import Layout
from rollgym.flat import info_name
from rollgym.sources import Source, sources
from rollgym.tables import info_types

VERDICTS = ("verified", "diverged", "single", "partial")
UNJUDGED = "unjudged"
"""Stands for the verdict of a file that a peer wrote: it has none."""


class NothingToExportError(Exception):
    """There is no episode, or none that is wanted. The text is for people."""


@dataclass
class Plan:
    """The episodes of one export."""

    wanted: list[Source] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Episode versions by verdict."""


def plan(path: Path, verdicts: Collection[str]) -> Plan:
    """Sort the episodes at ``path``.

    Raises ``FileNotFoundError``, :class:`~protocol.parquet.EpisodeFileError` for a file that is no episode, and
    :class:`NothingToExportError`.
    """
    found = Plan()
    for source in sources(path):
        verdict = source.verdict or UNJUDGED
        if verdict in verdicts:
            found.wanted.append(source)
        else:
            found.left_out[verdict] += 1
    if not found.wanted:
        if not found.left_out:
            raise NothingToExportError(f"{path}: no episodes in it")
        there = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.left_out.items()))
        hint = " ".join(f"--verdict {verdict}" for verdict in sorted(found.left_out))
        raise NothingToExportError(f"{path}: no episode is {' or '.join(verdicts)}; there are {there} (try {hint})")
    return found


def spaces_key(layout: Layout) -> tuple[str, ...]:
    """Equal for episodes whose rows have the same form."""
    game = layout.header.game
    return (game.id, *game.agents, *map(str, game.action_spaces), *map(str, game.observation_spaces))


def by_game(found: Plan) -> dict[tuple[str, ...], list[Source]]:
    """The episodes grouped by :func:`spaces_key`."""
    groups: dict[tuple[str, ...], list[Source]] = {}
    for source in found.wanted:
        groups.setdefault(spaces_key(source.layout), []).append(source)
    return groups


def info_columns_by_game(found: Plan) -> dict[tuple[str, ...], dict[str, pa.DataType]]:
    """Per game, the info columns that all its files get."""
    return {
        key: {info_name(*place): kind for place, kind in info_types(source.layout for source in group).items()}
        for key, group in by_game(found).items()
    }
