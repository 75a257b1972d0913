"""What a bare container lacks is not needed: shared memory, a home, a name for the user, many descriptors."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = """
import _multiprocessing, _posixshmem, os, pwd

def missing(*args, **more):
    open(os.environ["ASKED"], "a").close()
    raise OSError(30, "Read-only file system", "/dev/shm")

def nobody(*args):
    raise KeyError("getpwuid(): uid not found")

class Missing:
    SEM_VALUE_MAX = 1
    __new__ = missing

_multiprocessing.SemLock, _posixshmem.shm_open = Missing, missing
pwd.getpwuid = pwd.getpwnam = nobody
"""

EXPERIMENT = """
experiment:
  name: "étude café"
  condition: "日本 / a"
  game: {id: drift}
  play: {episodes: 1, frame_limit: 40}
server: {port: 0}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
def test_it_plays_and_judges_with_nothing_of_that(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    (tmp_path / "e.yaml").write_text(EXPERIMENT, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    environment = {**kept, "PYTHONPATH": f"{tmp_path}:{ROOT}", "ASKED": str(tmp_path / "asked")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    lock = run("-c", "import multiprocessing; multiprocessing.Lock()")
    assert "OSError: [Errno 30]" in lock.stderr, "this test would notice nothing"
    (tmp_path / "asked").unlink()
    done = run("-m", "rollgym", "run", "e.yaml", "--data", "data")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "episode 1       40 frames   verified" in done.stdout
    assert run("-m", "rollgym", "verify", "data", "--jobs", "2").returncode == 0
    assert not (tmp_path / "asked").exists()
