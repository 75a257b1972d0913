"""Front door: the public API, the rollgym command and offline dataset tools.

``rollgym.load(path)`` reads stored episodes as numpy arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollgym.dataset import Episode, load

__all__ = ["Episode", "load"]


def __getattr__(name: str) -> Any:
    """Import the public API on first use: the command line imports this package for every ``--help``."""
    if name in __all__:
        from rollgym import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
