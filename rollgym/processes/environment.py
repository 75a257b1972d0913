"""The environment variables of a child process, so that it finds the very package that its parent runs."""

from __future__ import annotations

import os
from pathlib import Path


def child_environment() -> dict[str, str]:
    """Ours; and, in case this package is not installed, the folder that it came from as ``PYTHONPATH``."""
    folder = import_folder()
    if "site-packages" in folder.parts:
        return dict(os.environ)
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{before}" if before else str(folder)}


def import_folder() -> Path:
    """What has to be on ``sys.path`` for ``import rollgym``. In a checkout that is ``src``: see pyproject.toml."""
    folder = Path(__file__).resolve().parents[2]
    return folder / "src" if (folder / "src" / "rollgym").is_dir() else folder
