"""What is exported and what is left out: known from metadata, before anything is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from rollgym.dataset.sources import Source, sources
from rollgym.dataset.stored_spaces import space_of
from rollgym.games.errors import GameError
from rollgym.games.spaces.described import leaves
from rollgym.protocol.files.parquet import CanonicalLayout, EpisodeFileError
from rollgym.protocol.messages import GameIdentity

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

    Raises ``FileNotFoundError``, :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for a file that is no
    episode, and :class:`NothingToExportError`.
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


def game_name(game_id: str) -> str:
    """A game's id as part of a file name or a dataset's: letters, digits, ``-`` and ``_``."""
    return re.sub(r"[^-_a-zA-Z0-9]+", "-", game_id).strip("-") or "game"


def by_spaces(found: Plan) -> dict[str, list[Source]]:
    """Episodes of one game and the same spaces, by a name of their own: ``pong``, ``pong-2``."""
    return _named(found, lambda game, _: (str(game.action_spaces), str(game.observation_spaces)))


def by_columns(found: Plan) -> dict[str, list[Source]]:
    """Episodes of one game whose tables have the same columns, whatever the bounds of its spaces, by name."""
    return _named(found, _columns)


def _columns(game: GameIdentity, layout: CanonicalLayout) -> tuple[str, ...]:
    seen = [(name, place.dtype, place.shape[1:]) for name, place in layout.columns.items() if "observ" in name]
    return (*map(str, sorted(seen)), *(str(leaves(space_of(space))) for space in game.action_spaces))


def _named(found: Plan, key_of: Callable[[GameIdentity, CanonicalLayout], tuple[str, ...]]) -> dict[str, list[Source]]:
    groups: dict[tuple[str, ...], list[Source]] = {}
    for source in found.wanted:
        game, layout = source.layout.header.game, source.layout.canonical
        assert layout is not None
        try:
            key = key_of(game, layout)
        except (GameError, ValueError) as error:
            raise EpisodeFileError(source.path, f"the columns do not fit the spaces: {error}") from error
        groups.setdefault((game.id, *game.agents, *key), []).append(source)
    named: dict[str, list[Source]] = {}
    for key, group in groups.items():
        name, number = game_name(key[0]), 1
        while (full := name if number == 1 else f"{name}-{number}") in named:
            number += 1
        named[full] = group
    return named
