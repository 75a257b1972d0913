"""Files of the facts of episodes, and what is the same in every row of one: what a lazy table of all of them needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from rollgym.dataset.filters import FILTERS
from rollgym.dataset.sources import Source
from rollgym.protocol.files.layout import EpisodeFileError, Layout


class FactsFile(NamedTuple):
    """One version of one episode. None: it is not known; of ``player``: what all players agree on."""

    path: str
    """Absolute."""
    kind: bytes
    """What was played, all of it. Files of one kind have the same columns, but for their infos."""
    layout: Layout | None
    """None: the file has not been opened."""
    match: str
    episode: int
    player: int | None
    """Whose version it is."""
    experiment: str | None
    condition: str | None
    match_number: int | None
    game: str
    game_version: str
    input_delay: int
    verdict: str | None
    status: str | None
    frames: int | None
    seed: int | None

    def said(self) -> dict[str, str | None]:
        """What one can filter by."""
        return {name: getattr(self, name) for name in FILTERS}


def facts_files(sources: Iterable[Source]) -> Iterator[FactsFile]:
    """What files say of themselves, where no catalogue does.

    Raises :class:`~rollgym.protocol.files.parquet.EpisodeFileError`.
    """
    for source in sources:
        header, extra = source.layout.header, source.layout.extra
        number = extra.get("match_number")
        try:
            match_number = int(number) if number else None
        except ValueError as error:
            raise EpisodeFileError(source.path, f"its metadata is not what a server writes: {error}") from error
        yield FactsFile(
            path=os.path.abspath(source.path),  # noqa: PTH100 - as it is, with its links
            kind=msgspec.json.encode(header.game),
            layout=source.layout,
            match=header.match,
            episode=header.episode,
            player=source.writer,
            experiment=extra.get("experiment"),
            condition=extra.get("condition"),
            match_number=match_number,
            game=header.game.id,
            game_version=header.game.version,
            input_delay=header.settings.input_delay,
            verdict=source.verdict,
            status=header.status,
            frames=header.frames,
            seed=header.seed,
        )
