"""The rows of :func:`rollgym.episodes` from files of episodes, where no catalogue tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from rollgym.dataset.episode_rows import TableRow
from rollgym.dataset.sources import Source
from rollgym.protocol.files.episode_players import FilePart, stored_episode_player
from rollgym.protocol.files.parquet import EpisodeFileError


def rows_in_files(path: Path, sources: Iterable[Source]) -> Iterator[TableRow]:
    """Rows in the order of the files. Of each episode the players' own parts are read too, as far as they are there.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    root = path if path.is_dir() else path.parent
    for _, versions in groupby(sources, lambda source: (source.path.parent, source.episode, source.verdict)):
        yield from _rows(root, [*versions])


def _rows(root: Path, versions: list[Source]) -> Iterator[TableRow]:
    """Of one episode. If its versions differ, a player's row is about that player's own."""
    for player in range(len(versions[0].layout.header.participants)):
        found = [source for source in versions if source.writer in (None, player)]
        if found:
            for source in found:
                yield _row(root, source, player)
        else:
            yield _row(root, versions[0], player, theirs=False)


def _row(root: Path, source: Source, player: int, *, theirs: bool = True) -> TableRow:
    """``theirs``: whether the facts are those that are said of this player."""
    header, extra = source.layout.header, source.layout.extra
    own = _own(source, player) if theirs else None
    try:
        return TableRow(
            match=header.match,
            episode=header.episode,
            player=player,
            agent=header.game.players[player],
            participant=header.participants[player],
            game=header.game.id,
            game_version=header.game.version,
            input_delay=header.settings.input_delay,
            experiment=extra.get("experiment"),
            condition=extra.get("condition"),
            match_number=_number(int, extra.get("match_number")),
            verdict=source.verdict,
            detail=extra.get("verdict_detail"),
            status=header.status if theirs else None,
            frames=header.frames if theirs else None,
            seed=header.seed,
            own_status=own.layout.header.status if own else _of(player, extra, "statuses"),
            own_frames=own.layout.header.frames if own else None,
            counted=None if own is None else stored_episode_player(FilePart(source.path, source.layout), own),
            match_created=_number(float, extra.get("match_created")),
            received=_of(player, extra, "received"),
            judged=_number(float, extra.get("judged")),
            facts_file=source.path.relative_to(root).as_posix() if theirs else None,
            own_file=None if own is None else own.path.relative_to(root).as_posix(),
        )
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise EpisodeFileError(source.path, f"its metadata is not what a server writes: {error}") from error


def _own(source: Source, player: int) -> FilePart | None:
    path = source.own.get(player)
    if path is None:
        return None
    return FilePart(path, source.layout) if path == source.path else FilePart.at(path)


def _of(player: int, extra: dict[str, str], key: str) -> Any:
    """What a file says of one player. Of those from whom nothing came it says nothing."""
    return json.loads(extra.get(key) or "{}").get(str(player))


def _number(kind: Any, text: str | None) -> Any:
    return kind(text) if text else None
