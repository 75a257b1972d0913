"""A checkout in its compiled form: ``python -m scripts.compiled_tree FOLDER`` builds the wheel and unpacks it there.

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BESIDE = ("benchmarks", "config", "docs", "examples", "scripts", "tests")
"""Folders that tests and benchmarks need, as links."""


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
    shutil.copy(ROOT / "pyproject.toml", folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
