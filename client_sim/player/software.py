"""Versions of what plays, for the record."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata


def software() -> dict[str, str]:
    """Names and versions."""
    versions = {"python": platform.python_version()}
    for name in ("rollgym", "numpy", "gymnasium"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
