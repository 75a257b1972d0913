"""Folders whose names are no text (bytes of another encoding): every verb takes them, or says that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import rollgym
from tests.rollgym.stored import play, write_export

NAME = os.fsdecode(b"caf\xe9")


def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "rollgym", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=300)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    other = tmp_path / f"other {NAME}"
    folder.mkdir()
    files = [write_export(folder, export) for export in play(frames=20)[0]]
    assert [episode.frames for episode in rollgym.load(folder)] == [20]
    for arguments in (
        ("export", folder, "--format", "csv", "--out", tmp_path / NAME / "csv", "--verdict", "all"),
        ("export", folder, "--format", "parquet", "--out", other / "flat", "--verdict", "all", "--json"),
        ("compare", *files),
        ("compare", folder / "csv", other / "flat"),
        ("verify", folder),
        ("replay", files[0], "--gif", folder / "a.gif"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, b""), arguments
    done = run("export", folder, "--format", "minari", "--out", folder / "minari", "--verdict", "all")
    assert done.returncode == 2
    assert b"Minari takes no folder" in done.stderr
    done = run("compare", folder / "none.csv", files[0])
    assert done.returncode == 2
    assert b"no such file" in done.stderr
