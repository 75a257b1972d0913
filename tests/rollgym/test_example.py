"""``examples/node-peer``: what can be said of it without Node. ``make example`` plays it."""

from __future__ import annotations

import json
import re
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "node-peer"


def test_the_lock_names_hashes_and_no_address() -> None:
    lock = (EXAMPLE / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock
    packages = {name: entry for name, entry in json.loads(lock)["packages"].items() if name}
    assert {name.removeprefix("node_modules/") for name in packages} == {"@msgpack/msgpack", "hash-wasm", "ws"}
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_its_readme_names_every_file_and_no_other() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    files = [*EXAMPLE.glob("*.js"), *EXAMPLE.glob("src/*.js")]
    listed = set(re.findall(r"`([\w/]+\.js)`", text))
    assert {str(path.relative_to(EXAMPLE)) for path in files} == listed


def test_every_file_is_below_400_lines() -> None:
    for path in EXAMPLE.glob("**/*.js"):
        if "node_modules" not in path.parts:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
