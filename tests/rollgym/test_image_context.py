"""What the Dockerfile builds from is let through by ``.dockerignore``, which keeps everything else out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _let_through() -> set[str]:
    lines = (ROOT / ".dockerignore").read_text().split()
    return {line[1:].rstrip("/") for line in lines if line.startswith("!")}


def test_what_the_wheel_is_built_from_is_in_the_image_s_context() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    hooks = {"custom": "hatch_build.py"}
    needed = {*wheel["only-include"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= {hooks[name] for name in wheel["hooks"]}
    needed |= {link.readlink().name for link in (ROOT / "rollgym").iterdir() if link.is_symlink()}
    assert needed <= _let_through()


def test_the_locks_that_the_dockerfile_installs_are_copied_first_and_let_through() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    installed = set(re.findall(r"-r (requirements/\S+)", dockerfile))
    (copied,) = re.findall(r"^COPY (requirements/.*) requirements/$", dockerfile, re.MULTILINE)
    assert installed == set(copied.split())
    assert installed <= _let_through()


def test_only_the_build_stage_has_a_compiler() -> None:
    build, run = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-2:]
    assert "gcc" in build
    assert "ROLLGYM_BUILD=compiled" in build
    assert "apt-get" not in run
