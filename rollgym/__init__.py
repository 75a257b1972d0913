"""Peers that play under rollback, and the dataset that they record.

``rollgym.load(path)`` reads stored episodes as numpy arrays and as tables::

    import rollgym

    for episode in rollgym.load("data", verdict="verified"):
        print(episode)
        episode.observations["left"]  # T + 1 rows: an array, or a dict or tuple of arrays
        episode.actions["left"]  # T rows
        episode.infos["left"]  # T + 1 dicts
        episode.table()  # a flat Arrow table, a row per frame

Everything else is the command ``rollgym``: ``rollgym --help`` lists what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollgym.dataset.load import Episode, EpisodeFileError, NoSuchEpisodeError, load

__all__ = ["Episode", "EpisodeFileError", "NoSuchEpisodeError", "load"]


def __getattr__(name: str) -> Any:
    """Import the public API on first use: the command line imports this package for every ``--help``."""
    if name in __all__:
        from rollgym.dataset import load as dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public API, too, before its first use: for ``help(rollgym)`` and completion."""
    return sorted({*globals(), *__all__})
