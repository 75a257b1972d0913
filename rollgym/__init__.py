"""Peers that play under rollback, and the dataset that they record.

``rollgym.load(path)`` reads stored episodes as numpy arrays and as tables::

    import rollgym

    for episode in rollgym.load("data", verdict="verified"):
        print(episode)
        episode.observations["left"]  # T + 1 rows: an array, or a dict or tuple of arrays
        episode.actions["left"]  # T rows
        episode.infos["left"]  # T + 1 dicts
        episode.table()  # a flat Arrow table, a row per frame

``rollgym.episodes(path)`` is one table of all episodes, and ``rollgym.scan(path)`` the frames of all of them, lazily,
for polars, DuckDB and Arrow.

Everything else is the command ``rollgym``: ``rollgym --help`` lists what it does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollgym.dataset.episodes import episodes
    from rollgym.dataset.filters import NoSuchEpisodeError
    from rollgym.dataset.load import Episode, load
    from rollgym.dataset.scan import scan
    from rollgym.protocol.files.layout import EpisodeFileError

_PLACES = {
    "Episode": "rollgym.dataset.load",
    "EpisodeFileError": "rollgym.protocol.files.layout",
    "NoSuchEpisodeError": "rollgym.dataset.filters",
    "episodes": "rollgym.dataset.episodes",
    "load": "rollgym.dataset.load",
    "scan": "rollgym.dataset.scan",
}

__all__ = ["Episode", "EpisodeFileError", "NoSuchEpisodeError", "episodes", "load", "scan"]


def __getattr__(name: str) -> Any:
    """Import the public API on first use: the command line imports this package for every ``--help``."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public API, too, before its first use: for ``help(rollgym)`` and completion."""
    return sorted({*globals(), *__all__})
