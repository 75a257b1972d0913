"""A checkout in its compiled form: ``python -m scripts.compiled_tree FOLDER`` builds the wheel and unpacks it there.

If it is there already and newer than every source, it is left as it is.

Beside the package lie the tests, benchmarks and what they read, so that ``python -m pytest`` in FOLDER tests the
compiled form with the packages of the environment that runs it. Without a compiler or mypyc it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BESIDE = ("benchmarks", "config", "docs", "examples", "scripts", "tests")
"""Folders that tests and benchmarks need, as links."""

SOURCES = ("rollgym", "client_sim", "games", "server", "hatch_build.py", "pyproject.toml")
"""What the compiled form is made of."""


def bring_up_to_date(folder: Path) -> None:
    """Make ``folder`` unless it is newer than every source. Raises like :func:`build`."""
    made = folder / "pyproject.toml"  # written last
    if not made.exists() or made.stat().st_mtime < max(path.stat().st_mtime for path in _sources()):
        build(folder)


def _sources() -> Iterator[Path]:
    for name in SOURCES:
        yield ROOT / name
        yield from (ROOT / name).rglob("*.py")


def build(folder: Path) -> None:
    """Make ``folder`` anew. Raises ``subprocess.CalledProcessError`` if it cannot be compiled."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as wheels:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
        subprocess.run(
            [*pip, "--no-build-isolation", "-w", wheels, str(ROOT)],
            env={**os.environ, "ROLLGYM_BUILD": "compiled"},
            check=True,
        )
        (wheel,) = Path(wheels).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    for name in BESIDE:
        (folder / name).symlink_to(ROOT / name)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")


if __name__ == "__main__":
    bring_up_to_date(Path(sys.argv[1]).resolve())
